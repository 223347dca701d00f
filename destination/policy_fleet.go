package destination

import (
	"fmt"
	"regexp"
	"strings"
)

// Fleet is who the fleet is to AWS, as its operator configured it. Each
// connection option needs some of it: shared_account AccountID or UserARN,
// canonical_id CanonicalID, role_chain RoleARN.
type Fleet struct {
	// AccountID is the 12 digits of the fleet's account. A bucket policy that
	// names the account lets the operator choose, and replace, the user.
	AccountID string `json:"account_id,omitempty"`

	// UserARN is the user whose keys the fleet signs with. When it is set,
	// bucket and key policies admit that user instead of the whole account; they
	// must be pasted anew when the user is deleted and made again.
	UserARN string `json:"user_arn,omitempty"`

	// CanonicalID is the fleet's account as ACLs name it, 64 hex digits.
	CanonicalID string `json:"canonical_id,omitempty"`

	// RoleARN is the role whose session assumes the customers' roles.
	RoleARN string `json:"role_arn,omitempty"`

	// Partition is the first part of the ARNs after "arn:"; "" takes it from
	// the destination's region.
	Partition string `json:"partition,omitempty"`
}

// The operator's settings that fill a Fleet. Every flag can be set by environment.
const (
	accountSetting   = "set --fleet-account-id (LOADFLEET_FLEET_ACCOUNT_ID) to the 12 digits of the fleet's account"
	userSetting      = "set --fleet-user-arn (LOADFLEET_FLEET_USER_ARN) to the ARN of the user whose keys the fleet signs with"
	canonicalSetting = `set --fleet-canonical-id (LOADFLEET_FLEET_CANONICAL_ID) to what "aws s3api list-buckets --query Owner.ID" prints in the fleet's account`
	roleSetting      = "set --fleet-role-arn (LOADFLEET_FLEET_ROLE_ARN) to the ARN of the role that the fleet runs as"
)

// judge reports what the settings' connection option needs and the fleet lacks.
func (f Fleet) judge(s *Settings, found *Problems) {
	aws := s.Endpoint == ""
	switch s.ConnectionOption {
	case SharedAccount:
		switch {
		case f.UserARN == "" && f.AccountID == "":
			found.add("fleet.account_id", "is not configured, and shared_account admits the fleet's account", accountSetting+", or "+userSetting)
		case f.UserARN != "":
			f.arn(s, found, "fleet.user_arn", f.UserARN, "user", userSetting)
			if account := accountOf(f.UserARN); aws && f.AccountID != "" && account != f.AccountID {
				found.add("fleet.user_arn", "is a user of account "+shown(account)+", and fleet.account_id is "+shown(f.AccountID), userSetting)
			}
		case aws && !regexp.MustCompile(`^\d{12}$`).MatchString(f.AccountID):
			found.add("fleet.account_id", shown(f.AccountID)+" is not an account id", accountSetting)
		}
	case CanonicalID:
		switch {
		case f.CanonicalID == "":
			found.add("fleet.canonical_id", "is not configured, and canonical_id grants rights to it", canonicalSetting)
		case aws && !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(f.CanonicalID):
			found.add("fleet.canonical_id", shown(f.CanonicalID)+" is not a canonical user id", canonicalSetting)
		}
	case RoleChain:
		if f.RoleARN == "" {
			found.add("fleet.role_arn", "is not configured, and role_chain lets it assume the customer's role", roleSetting)
		} else {
			f.arn(s, found, "fleet.role_arn", f.RoleARN, "role", roleSetting)
		}
	}
}

// arn judges the form of an ARN and, on AWS, whether its partition can reach the bucket's.
func (f Fleet) arn(s *Settings, found *Problems, field, arn, kind, setting string) {
	account := `\d{12}`
	if s.Endpoint != "" {
		account = `[\w-]*`
	}
	if !regexp.MustCompile(`^arn:[a-z-]+:iam::` + account + `:` + kind + `/[\w+=,.@/-]{1,576}$`).MatchString(arn) {
		found.add(field, shown(arn)+" is not the ARN of an IAM "+kind, setting)
		return
	}
	if want := f.partition(s); partitionOf(arn) != want {
		found.add(field, fmt.Sprintf("is in partition %s, and no identity of it reaches a bucket of %s", partitionOf(arn), want), "give the destination a connection option that signs with the customer's own identity, access_keys")
	}
}

// partition is that of the destination's ARNs.
func (f Fleet) partition(s *Settings) string {
	if f.Partition != "" {
		return f.Partition
	}
	if s.Endpoint != "" {
		return "aws" // what stores other than AWS write
	}
	for _, p := range []struct{ prefix, partition string }{
		{"cn-", "aws-cn"}, {"us-gov-", "aws-us-gov"}, {"us-iso-", "aws-iso"}, {"us-isob-", "aws-iso-b"},
		{"us-isof-", "aws-iso-f"}, {"eu-isoe-", "aws-iso-e"}, {"eusc-", "aws-eusc"},
	} {
		if strings.HasPrefix(s.Region, p.prefix) {
			return p.partition
		}
	}
	return "aws"
}

// Principal is whom bucket and key policies admit: the user, or the account in the
// destination's partition; "" when neither is configured.
func (f Fleet) Principal(s *Settings) string {
	switch {
	case f.UserARN != "":
		return f.UserARN
	case f.AccountID == "":
		return ""
	}
	return "arn:" + f.partition(s) + ":iam::" + f.AccountID + ":root"
}

// The parts of arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE; "" when arn is none.
func partitionOf(arn string) string { return arnPart(arn, 1) }
func accountOf(arn string) string   { return arnPart(arn, 4) }
func resourceOf(arn string) string  { return arnPart(arn, 5) }

func arnPart(arn string, i int) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 || parts[0] != "arn" {
		return ""
	}
	return parts[i]
}
