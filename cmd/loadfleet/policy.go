package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/loadfleet/loadfleet/destination"
)

// bindFleet binds who the fleet is to AWS.
func bindFleet(f *pflag.FlagSet, fleet *destination.Fleet) {
	f.StringVar(&fleet.AccountID, "fleet-account-id", "", "the fleet's AWS account, 12 digits")
	f.StringVar(&fleet.UserARN, "fleet-user-arn", "", "the IAM user whose keys the fleet signs with")
	f.StringVar(&fleet.CanonicalID, "fleet-canonical-id", "", "the fleet's canonical id, 64 hex digits, as ACLs name it")
	f.StringVar(&fleet.RoleARN, "fleet-role-arn", "", "the IAM role whose session assumes customers' roles")
}

func (p *program) destinationPolicy() *cobra.Command {
	var fleet destination.Fleet
	var file, format string
	c := &cobra.Command{
		Use:   "policy [ID]",
		Short: "Print the access documents that a destination needs, ready to paste",
		Long: `Policy prints exactly the documents that the destination's connection option
needs, filled in with its bucket, prefix and key and with who the fleet is, and
no right beyond: the customer's IAM user policy (#1), bucket and key policy (#2),
ACL grant (#3), or trust and role policy (#4).`,
		Example: `  loadfleet destination policy acme
  loadfleet destination policy acme --format terraform > loadfleet.tf
  loadfleet destination policy -f acme.yaml --fleet-role-arn arn:aws:iam::111111111111:role/loadfleet`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.onDestination(cmd.Context(), file, args, func(s *destination.Settings) error {
				policy, err := s.Policy(fleet)
				if err != nil {
					return usage(err)
				}
				if p.settings.json() {
					return printJSON(p.out, policy)
				}
				var text string
				switch format {
				case "text":
					text = policy.Text()
				case "terraform":
					text = policy.Terraform()
				case "cloudformation":
					if text, err = policy.CloudFormation(); err != nil {
						return err
					}
				default:
					return usage(fmt.Errorf("--format %q: use text, terraform or cloudformation", format))
				}
				_, err = fmt.Fprint(p.out, text)
				return err
			})
		},
	}
	c.Flags().StringVarP(&file, "file", "f", "", "a document that need not be applied; - for standard input")
	c.Flags().StringVar(&format, "format", "text", "text, terraform or cloudformation")
	bindFleet(c.Flags(), &fleet)
	return c
}
