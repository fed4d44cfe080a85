package machines

import "fmt"

// ExitError tells that a command ran inside a machine and ended with a code
// other than 0.
type ExitError struct {
	// Program is the first argument of the command.
	Program string
	Code    int
}

func (e *ExitError) Error() string {
	return fmt.Sprintf("%s ended with exit code %d", e.Program, e.Code)
}
