package cli

import (
	"errors"
	"fmt"
	"os"

	agekeys "filippo.io/age"
	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden"
	"github.com/loam-cloud/loam/garden/backup"
	"github.com/loam-cloud/loam/garden/operations"
)

func newGarden(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "garden",
		Short: "Back up, restore and look after the garden",
		Example: `  loam garden backup garden.loam-backup --passphrase-file passphrase
  loam garden restore garden.loam-backup --passphrase-file passphrase
  loam garden rotate-encryption-key
  loam garden rotate-certificates`,
	}
	group(cmd)
	cmd.AddCommand(newBackup(o), newRestore(o), newRotateEncryptionKey(o), newRotateCertificates(o))
	return cmd
}

func newBackup(o *options) *cobra.Command {
	var recipients []string
	var passphraseFile string
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write an encrypted backup of the running garden",
		Long: `Write everything that the garden holds, as of one moment, to a file: all objects,
certificates, and the keys of secrets. The garden goes on meanwhile.

The file is encrypted with age, for recipients (public keys, age1...) or with a
passphrase. Whoever opens it has every secret of the garden.`,
		Example: `  loam garden backup garden.loam-backup --passphrase-file passphrase
  loam garden backup garden.loam-backup --recipient age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p`,
		Args: exactlyOne("the name of a file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			config, err := o.administrator()
			if err != nil {
				return err
			}
			passphrase, err := readSecret(passphraseFile)
			if err != nil {
				return err
			}
			file, err := renameio.NewPendingFile(args[0], renameio.WithPermissions(0o600))
			if err != nil {
				return fault.New(fault.Invalid, "file %q cannot be written: %w", args[0], err)
			}
			defer func() { _ = file.Cleanup() }() // nothing is left to do when it was replaced
			if err := operations.Backup(cmd.Context(), config, file, recipients, passphrase); err != nil {
				return err
			}
			info, err := file.Stat()
			if err == nil {
				err = file.CloseAtomicallyReplace()
			}
			if err != nil {
				return fmt.Errorf("writing %q: %w", args[0], err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "Wrote %s, %d KiB\n", args[0], info.Size()>>10)
			return err
		},
	}
	cmd.Flags().StringArrayVar(&recipients, "recipient", nil, "public key of who may open the backup; may be given several times")
	cmd.Flags().StringVar(&passphraseFile, "passphrase-file", "", "file whose first line opens the backup")
	cmd.MarkFlagsMutuallyExclusive("recipient", "passphrase-file")
	cmd.MarkFlagsOneRequired("recipient", "passphrase-file")
	return cmd
}

// readSecret reads a passphrase; an empty path is none.
func readSecret(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	return backup.ReadPassphrase(path)
}

func newRestore(o *options) *cobra.Command {
	var identityFile, passphraseFile string
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Make a data folder of a backup",
		Long: `Make the data folder of a backup, which must be missing or empty. Nothing is
changed before the whole backup has been proven. Then start the garden: loam up.

Clusters that were made after the backup are not in it. Machines that it knows are
found again when it is restored to the same folder on the same host.`,
		Example: `  loam garden restore garden.loam-backup --passphrase-file passphrase
  loam garden restore garden.loam-backup --identity-file key.txt --data-dir /srv/loam`,
		Args: exactlyOne("the name of a file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := o.data()
			if err != nil {
				return err
			}
			identities, err := readIdentities(identityFile, passphraseFile)
			if err != nil {
				return err
			}
			file, err := os.Open(args[0])
			if err != nil {
				return fault.New(fault.Invalid, "reading the backup: %w", err)
			}
			defer func() { _ = file.Close() }() // only read
			manifest, err := garden.Restore(cmd.Context(), file, dir, identities...)
			if err != nil {
				return fmt.Errorf("restoring %q: %w", args[0], err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "Restored the garden of %s (loam %s) to %s\nStart it with: loam up --detach --data-dir %[3]s\n",
				manifest.Created.Format("2006-01-02 15:04:05 MST"), manifest.Version, dir)
			return err
		},
	}
	cmd.Flags().StringVar(&identityFile, "identity-file", "", "file with private keys that open the backup")
	cmd.Flags().StringVar(&passphraseFile, "passphrase-file", "", "file whose first line opens the backup")
	cmd.MarkFlagsMutuallyExclusive("identity-file", "passphrase-file")
	cmd.MarkFlagsOneRequired("identity-file", "passphrase-file")
	return cmd
}

func readIdentities(identityFile, passphraseFile string) ([]agekeys.Identity, error) {
	if identityFile != "" {
		return backup.ReadIdentities(identityFile)
	}
	passphrase, err := backup.ReadPassphrase(passphraseFile)
	if err != nil {
		return nil, err
	}
	identity, err := backup.PassphraseIdentity(passphrase)
	if err != nil {
		return nil, err
	}
	return []agekeys.Identity{identity}, nil
}

func newRotateEncryptionKey(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "rotate-encryption-key",
		Short: "Encrypt every secret of the garden with a new key",
		Long: `Make a new key, write every Secret and InternalSecret again with it, prove that in
the store, and forget the old key. The garden goes on meanwhile. It takes about a
minute; interrupted, it goes on when it is run again.

Backups hold the keys of their own time and stay readable.`,
		Example: `  loam garden rotate-encryption-key`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := o.administrator()
			if err != nil {
				return err
			}
			var unwritten error
			err = operations.RotateEncryptionKey(cmd.Context(), config, func(step string) {
				_, problem := fmt.Fprintln(cmd.OutOrStdout(), step)
				unwritten = errors.Join(unwritten, problem)
			})
			return errors.Join(err, unwritten)
		},
	}
}

func newRotateCertificates(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "rotate-certificates",
		Short: "Give the garden's server and its administrator new keys and certificates",
		Long: `Replace the keys and certificates of the server and of the administrator, whose
kubeconfig is written anew. The authority stays: other clients go on, and the
garden is not restarted. The server takes up its new certificate within a minute.`,
		Example: `  loam garden rotate-certificates`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := o.running()
			if err != nil {
				return err
			}
			config, err := restConfig(dir)
			if err != nil {
				return err
			}
			if err := operations.RotateCertificates(cmd.Context(), config); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "The kubeconfig %s is new.\n", kubeconfigPath(dir))
			return err
		},
	}
}
