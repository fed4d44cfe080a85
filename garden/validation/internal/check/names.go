package check

import (
	"crypto/x509"
	"encoding/pem"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// DNSLabel wants a name of at most 63 small letters, digits and dashes.
func DNSLabel(path *field.Path, value string) field.ErrorList {
	return each(path, value, validation.IsDNS1123Label(value))
}

// DNSSubdomain wants DNS labels joined by dots, at most 253 characters.
func DNSSubdomain(path *field.Path, value string) field.ErrorList {
	return each(path, value, validation.IsDNS1123Subdomain(value))
}

// QualifiedName wants the key of a label or a taint.
func QualifiedName(path *field.Path, value string) field.ErrorList {
	return each(path, value, validation.IsQualifiedName(value))
}

// Key wants a qualified name, and says what for when there is none.
func Key(path *field.Path, value, purpose string) field.ErrorList {
	if errs := Required(path, value, purpose); len(errs) > 0 {
		return errs
	}
	return QualifiedName(path, value)
}

// LabelValue wants what a label may be set to.
func LabelValue(path *field.Path, value string) field.ErrorList {
	return each(path, value, validation.IsValidLabelValue(value))
}

func each(path *field.Path, value string, problems []string) field.ErrorList {
	var errs field.ErrorList
	for _, problem := range problems {
		errs = append(errs, field.Invalid(path, value, problem))
	}
	return errs
}

// Labels wants keys and values that labels may have.
func Labels(path *field.Path, labels map[string]string) field.ErrorList {
	return metav1validation.ValidateLabels(labels, path)
}

// Selector wants a label selector that parses.
func Selector(path *field.Path, selector *metav1.LabelSelector) field.ErrorList {
	return metav1validation.ValidateLabelSelector(selector, metav1validation.LabelSelectorValidationOptions{}, path)
}

// Certificates wants one or more X.509 certificates in PEM and nothing else.
func Certificates(path *field.Path, bundle string) field.ErrorList {
	const want = "must be one or more certificates in PEM"
	rest, found := []byte(bundle), false
	for {
		block, left := pem.Decode(rest)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return field.ErrorList{field.Invalid(path, block.Type, want)}
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return field.ErrorList{field.Invalid(path, "", want+": "+err.Error())}
		}
		rest, found = left, true
	}
	if !found || strings.TrimSpace(string(rest)) != "" {
		return field.ErrorList{field.Invalid(path, Excerpt(bundle), want)}
	}
	return nil
}

// Excerpt shows the beginning of a long text, of a key no more than what begins
// every key of its kind.
func Excerpt(text string) string {
	const limit = 32
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "..."
}
