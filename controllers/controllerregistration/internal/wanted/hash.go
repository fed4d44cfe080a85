package wanted

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// hashDigits is how many digits of a hash are kept, as Gardener does.
const hashDigits = 16

// Hash is the same for values that say the same, and another for any others:
// lists and numbers count, the order of keys does not, also not in raw JSON.
func Hash(value any) (string, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return "", fmt.Errorf("writing %T: %w", value, err)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	// A float64 would make large numbers equal that are not.
	decoder.UseNumber()
	var plain any
	if err := decoder.Decode(&plain); err != nil {
		return "", fmt.Errorf("reading %T: %w", value, err)
	}
	// Maps are written in the order of their keys.
	if text, err = json.Marshal(plain); err != nil {
		return "", fmt.Errorf("writing %T: %w", value, err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])[:hashDigits], nil
}
