package destination

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTarget compares the single statements, which a check names, with those of
// the whole documents.
func TestTarget(t *testing.T) {
	const prefix = "ü ws/~*?$"
	settings := policySettings(t, SharedAccount, SSEKMSCustomer, "region: cn-north-1", "encryption_key: arn:aws-cn:kms:cn-north-1:"+customerAccount+":key/1234abcd-12ab-34cd-56ef-1234567890ab")
	who := "arn:aws-cn:iam::" + fleetAccount + ":user/fleet"
	at := newScope(settings, Fleet{}, prefix)
	p := Target{Region: settings.Region, Bucket: settings.Bucket, Prefix: prefix, ACL: settings.ACL}
	admitted := at.admit(who)
	for _, test := range []struct {
		name string
		got  json.RawMessage
		want statement
	}{
		{"objects", p.AllowObjects(who, "s3:GetObject", "s3:DeleteObject", "s3:AbortMultipartUpload"), admitted[0]},
		{"list", p.AllowList(who), admitted[2]},
		{"ACL", p.AllowACL(who), admitted[3]},
		{"own objects", p.AllowObjects("", at.identity()[0].Action...), at.identity()[0]},
		{"own list", p.AllowList(""), at.identity()[1]},
		{"key", p.AllowKey(who), at.admitToKey(who)},
		{"trust", AllowAssume(who, "a?*$"), trust(who, "a?*$")},
		{"trust of anybody who is named", AllowAssume(who, ""), trust(who, "")},
	} {
		test.want.Sid = ""
		if diff := cmp.Diff(string(compactJSON(test.want)), string(test.got)); diff != "" {
			t.Errorf("%s (-document +single):\n%s", test.name, diff)
		}
	}
	p.Endpoint = "https://store.example"
	if got, want := string(p.AllowKey(who)), `{"Effect":"Allow","Principal":{"AWS":"`+who+`"},"Action":["kms:GenerateDataKey","kms:Decrypt"],"Resource":"*"}`; got != want {
		t.Errorf("key of a store that is not AWS: %s, want %s", got, want)
	}
}
