package main

import (
	"testing"

	"github.com/loadfleet/loadfleet/destination"
)

// TestPrincipal: check names the account as the destination's partition does, so that
// the statement which it says to add is one that AWS takes.
func TestPrincipal(t *testing.T) {
	const user = "arn:aws:iam::111111111111:user/fleet"
	account := destination.Fleet{AccountID: "111111111111"}
	for _, tt := range []struct {
		name   string
		option destination.ConnectionOption
		region string
		fleet  destination.Fleet
		want   string
	}{
		{"account", destination.SharedAccount, "eu-central-1", account, "arn:aws:iam::111111111111:root"},
		{"account in GovCloud", destination.SharedAccount, "us-gov-west-1", account, "arn:aws-us-gov:iam::111111111111:root"},
		{"account in China", destination.CanonicalID, "cn-north-1", account, "arn:aws-cn:iam::111111111111:root"},
		{"user", destination.SharedAccount, "eu-central-1", destination.Fleet{AccountID: "111111111111", UserARN: user}, user},
		{"nobody", destination.SharedAccount, "eu-central-1", destination.Fleet{}, ""},
		{"the customer's keys", destination.AccessKeys, "eu-central-1", account, ""},
		{"the customer's role", destination.RoleChain, "us-gov-west-1", account, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := principal(&destination.Settings{ConnectionOption: tt.option, Region: tt.region}, tt.fleet); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
