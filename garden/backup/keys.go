package backup

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"filippo.io/age"
	"github.com/google/renameio/v2"

	"github.com/loam-cloud/loam/fault"
)

// passphraseLength is the least that a passphrase may have: it protects every
// secret of the garden against whoever gets hold of the file.
const passphraseLength = 12

// ParseRecipients reads public keys, age1..., for whom backups are encrypted. It
// names every one that is wrong.
func ParseRecipients(keys []string) ([]age.Recipient, error) {
	var recipients []age.Recipient
	var problems []error
	for _, key := range keys {
		recipient, err := age.ParseX25519Recipient(strings.TrimSpace(key))
		if err != nil {
			problems = append(problems, fault.New(fault.Invalid, "recipient %q is no public key such as age1...: %w", key, err))
			continue
		}
		recipients = append(recipients, recipient)
	}
	return recipients, errors.Join(problems...)
}

// PassphraseRecipient encrypts for whoever knows the passphrase.
func PassphraseRecipient(passphrase string) (age.Recipient, error) {
	if len(passphrase) < passphraseLength {
		return nil, fault.New(fault.Invalid, "the passphrase has %d characters, must have %d or more", len(passphrase), passphraseLength)
	}
	return age.NewScryptRecipient(passphrase)
}

// PassphraseIdentity opens what PassphraseRecipient sealed.
func PassphraseIdentity(passphrase string) (age.Identity, error) {
	identity, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err)
	}
	return identity, nil
}

// ReadPassphrase reads the first line of a file.
func ReadPassphrase(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fault.New(fault.Invalid, "reading the passphrase: %w", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	if line = strings.TrimRight(line, "\r"); line == "" {
		return "", fault.New(fault.Invalid, "the first line of %q, which is the passphrase, is empty", path)
	}
	return line, nil
}

// ReadIdentities reads private keys, AGE-SECRET-KEY-1..., one a line.
func ReadIdentities(path string) ([]age.Identity, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fault.New(fault.Invalid, "reading keys: %w", err)
	}
	defer func() { _ = file.Close() }() // only read
	identities, err := age.ParseIdentities(bufio.NewReader(file))
	if err != nil {
		return nil, fault.New(fault.Invalid, "file %q has no keys such as AGE-SECRET-KEY-1...: %w", path, err)
	}
	return identities, nil
}

// EnsureKey reads the private key at path, or makes one, mode 0600, and returns
// the public key.
func EnsureKey(path string) (age.Recipient, error) {
	identities, err := ReadIdentities(path)
	if errors.Is(err, fs.ErrNotExist) {
		identity, err := age.GenerateX25519Identity()
		if err != nil {
			return nil, fmt.Errorf("making a key for backups: %w", err)
		}
		text := fmt.Sprintf("# opens this garden's automatic backups; keep a copy elsewhere\n# public key: %s\n%s\n", identity.Recipient(), identity)
		if err := renameio.WriteFile(path, []byte(text), 0o600); err != nil {
			return nil, fmt.Errorf("writing the key for backups: %w", err)
		}
		return identity.Recipient(), nil
	}
	if err != nil {
		return nil, err
	}
	identity, ok := identities[0].(*age.X25519Identity)
	if !ok {
		return nil, fault.New(fault.Invalid, "file %q holds a %T, not an X25519 key", path, identities[0])
	}
	return identity.Recipient(), nil
}
