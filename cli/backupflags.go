package cli

import (
	"strconv"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/loam-cloud/loam/app"
	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/garden/backup"
)

// backupFlags are those of loam up about its store. What is not given leaves a
// configuration file's value alone.
type backupFlags struct {
	dir        string
	interval   time.Duration
	keep       int
	recipients []string
	quota      string
}

func (b *backupFlags) add(f *pflag.FlagSet) {
	f.StringVar(&b.dir, "backup-dir", "", "folder of the backups that the garden makes by itself (default <data-dir>/backups)")
	f.DurationVar(&b.interval, "backup-interval", 0, "how far apart they are; negative turns them off (default 24h)")
	f.IntVar(&b.keep, "backup-keep", 0, "how many are kept (default 7)")
	f.StringArrayVar(&b.recipients, "backup-recipient", nil, "public key, age1..., of who may open them; may be given several times (default the key <data-dir>/backup.key)")
	f.StringVar(&b.quota, "store-quota", "", "largest size of the garden's store (default 8Gi)")
}

// apply makes a configuration say what the flags do.
func (b *backupFlags) apply(c *app.Config) error {
	if b.dir != "" {
		c.Backups.Dir = b.dir
	}
	if b.interval != 0 {
		c.Backups.Interval = b.interval
	}
	if b.keep != 0 {
		c.Backups.Keep = b.keep
	}
	if len(b.recipients) > 0 {
		recipients, err := backup.ParseRecipients(b.recipients)
		if err != nil {
			return err
		}
		c.Backups.Recipients = recipients
	}
	if b.quota == "" {
		return nil
	}
	quota, err := resource.ParseQuantity(b.quota)
	if err != nil {
		return fault.Wrap(fault.Invalid, field.Invalid(field.NewPath("store-quota"), b.quota, "must be a size, for example 8Gi"))
	}
	c.StoreQuotaBytes = quota.Value()
	return nil
}

// flags are the command line that says the same.
func (b *backupFlags) flags() []string {
	var flags []string
	if b.dir != "" {
		flags = append(flags, "--backup-dir", b.dir)
	}
	if b.interval != 0 {
		flags = append(flags, "--backup-interval", b.interval.String())
	}
	if b.keep != 0 {
		flags = append(flags, "--backup-keep", strconv.Itoa(b.keep))
	}
	for _, recipient := range b.recipients {
		flags = append(flags, "--backup-recipient", recipient)
	}
	if b.quota != "" {
		flags = append(flags, "--store-quota", b.quota)
	}
	return flags
}
