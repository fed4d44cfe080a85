package cli

import (
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/rest"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden/access/agentcert"
)

func newSeed(o *options) *cobra.Command {
	cmd := &cobra.Command{Use: "seed", Short: "Admit hosts as seeds of the garden", Example: "  loam seed token create rack1 --file rack1.bootstrap"}
	group(cmd)
	token := &cobra.Command{Use: "token", Short: "Let the agent of a seed introduce itself", Example: "  loam seed token create rack1"}
	group(token)
	token.AddCommand(newSeedToken(o))
	cmd.AddCommand(token)
	return cmd
}

// tokenLifetime is short: a token is used once, soon after it was made.
const tokenLifetime = 24 * time.Hour

func newSeedToken(o *options) *cobra.Command {
	var file, server string
	var lifetime time.Duration
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a kubeconfig with which a seed's agent asks for its certificate",
		Long: `Make a bootstrap token for one seed and write a kubeconfig with it. The agent of
that seed, and of no other, gets a certificate with it until the token expires;
from then on it renews the certificate by itself.`,
		Example: `  loam seed token create rack1 > rack1.bootstrap
  loam seed token create rack1 --file rack1.bootstrap --lifetime 1h --server https://garden.example.org:6440
  loam agent --seed rack1 --bootstrap-kubeconfig rack1.bootstrap --kubeconfig rack1.kubeconfig`,
		Args: exactlyOne("the name of a seed"),
		RunE: func(cmd *cobra.Command, args []string) error {
			seed := args[0]
			if err := checkToken(seed, server, lifetime); err != nil {
				return err
			}
			c, err := o.connect()
			if err != nil {
				return err
			}
			garden, err := o.administrator()
			if err != nil {
				return err
			}
			if server == "" {
				server = garden.Host
			}
			token, err := agentcert.CreateToken(cmd.Context(), c, seed, time.Now().Add(lifetime))
			if err != nil {
				return err
			}
			return writeToken(cmd, token, server, garden, file)
		},
	}
	f := cmd.Flags()
	f.StringVar(&file, "file", "", "file to write, for its owner alone (default standard output)")
	f.DurationVar(&lifetime, "lifetime", tokenLifetime, "how long the token is good for")
	f.StringVar(&server, "server", "", "URL at which the agent reaches the garden (default that in the garden's kubeconfig)")
	return cmd
}

func checkToken(seed, server string, lifetime time.Duration) error {
	var problems field.ErrorList
	for _, problem := range validation.NameIsDNSLabel(seed, false) {
		problems = append(problems, field.Invalid(field.NewPath("name"), seed, problem))
	}
	if lifetime < time.Minute {
		problems = append(problems, field.Invalid(field.NewPath("lifetime"), lifetime.String(), "must be a minute or more"))
	}
	if address, err := url.Parse(server); server != "" && (err != nil || address.Scheme != "https" || address.Host == "") {
		problems = append(problems, field.Invalid(field.NewPath("server"), server, "must be a URL, for example https://garden.example.org:6440"))
	}
	if err := problems.ToAggregate(); err != nil {
		return fault.Wrap(fault.Invalid, err)
	}
	return nil
}

func writeToken(cmd *cobra.Command, token agentcert.Token, server string, garden *rest.Config, file string) error {
	ca := garden.CAData
	if len(ca) == 0 && garden.CAFile != "" {
		var err error
		if ca, err = os.ReadFile(garden.CAFile); err != nil {
			return fault.New(fault.Invalid, "reading the garden's authority: %w", err)
		}
	}
	text, err := token.Kubeconfig(server, ca)
	if err != nil {
		return fmt.Errorf("writing the kubeconfig: %w", err)
	}
	if file == "" {
		_, err = cmd.OutOrStdout().Write(text)
		return err
	}
	if err := renameio.WriteFile(file, text, 0o600); err != nil {
		return fault.New(fault.Invalid, "writing %q: %w", file, err)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "Wrote %s, which is good until %s.\n", file, token.Expires.Local().Format(time.RFC1123))
	return nil
}
