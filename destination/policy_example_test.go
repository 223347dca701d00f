package destination_test

import (
	"fmt"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/encoding"
)

// The policy of the role that the fleet assumes, confined to the folder's
// constant part, with a KMS key of the customer.
func ExampleSettings_Policy() {
	s := destination.Settings{
		ID:               "acme",
		ConnectionOption: destination.RoleChain,
		AssumeRoleARN:    "arn:aws:iam::123456789012:role/loads",
		ExternalID:       "acme-42",
		Region:           "eu-central-1",
		Bucket:           "acme-data",
		Folder:           "/loads/{{workspace_id}}",
		FileName:         "{{filename}}-{{YYYY}}-{{MM}}-{{DD}}",
		FileFormat:       encoding.Parquet,
		Encryption:       destination.SSEKMSCustomer,
		EncryptionKey:    "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
	}
	p, err := s.Policy(destination.Fleet{RoleARN: "arn:aws:iam::999988887777:role/loadfleet"})
	if err != nil {
		fmt.Println(err)
		return
	}
	role := p.Documents[1]
	fmt.Println(role.Title)
	fmt.Println(string(role.Body))
	fmt.Println(role.Command)
	// Output:
	// Policy of the role arn:aws:iam::123456789012:role/loads
	// {
	//   "Version": "2012-10-17",
	//   "Statement": [
	//     {
	//       "Sid": "Objects",
	//       "Effect": "Allow",
	//       "Action": [
	//         "s3:GetObject",
	//         "s3:PutObject",
	//         "s3:DeleteObject",
	//         "s3:AbortMultipartUpload"
	//       ],
	//       "Resource": "arn:aws:s3:::acme-data/loads/*"
	//     },
	//     {
	//       "Sid": "List",
	//       "Effect": "Allow",
	//       "Action": "s3:ListBucket",
	//       "Resource": "arn:aws:s3:::acme-data",
	//       "Condition": {
	//         "StringLike": {
	//           "s3:prefix": "loads/*"
	//         }
	//       }
	//     },
	//     {
	//       "Sid": "Key",
	//       "Effect": "Allow",
	//       "Action": [
	//         "kms:GenerateDataKey",
	//         "kms:Decrypt"
	//       ],
	//       "Resource": "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
	//       "Condition": {
	//         "StringEquals": {
	//           "kms:ViaService": "s3.eu-central-1.amazonaws.com"
	//         },
	//         "StringLike": {
	//           "kms:EncryptionContext:aws:s3:arn": [
	//             "arn:aws:s3:::acme-data",
	//             "arn:aws:s3:::acme-data/loads/*"
	//           ]
	//         }
	//       }
	//     }
	//   ]
	// }
	// aws iam put-role-policy --role-name loads --policy-name loadfleet-acme --policy-document file://loadfleet-acme-role-policy.json
}
