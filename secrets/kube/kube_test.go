package kube_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/secrets/kube"
)

func TestEveryAnswerIsNamed(t *testing.T) {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "garden-local", Name: "hub"}, Data: map[string][]byte{"password": []byte("correct horse"), "user": []byte("loam")}}
	fails := func(err error) interceptor.Funcs {
		return interceptor.Funcs{Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return err
		}}
	}
	where := corev1.Resource("secrets")
	for name, tc := range map[string]struct {
		broken     interceptor.Funcs
		reference  kube.Reference
		want, says string
		kind       fault.Kind
	}{
		"there":       {reference: kube.Reference{Namespace: "garden-local", Name: "hub", Key: "password"}, want: "correct horse"},
		"no Secret":   {reference: kube.Reference{Namespace: "garden-local", Name: "none", Key: "password"}, kind: fault.Missing, says: "Secret garden-local/none: it does not exist"},
		"no key":      {reference: kube.Reference{Namespace: "garden-local", Name: "hub", Key: "token"}, kind: fault.Missing, says: `no key "token"; its keys: password, user`},
		"not allowed": {broken: fails(apierrors.NewForbidden(where, "hub", nil)), kind: fault.Denied, says: "forbidden"},
		"away":        {broken: fails(apierrors.NewServerTimeout(where, "get", 1)), kind: fault.Transient},
	} {
		t.Run(name, func(t *testing.T) {
			reader := fake.NewClientBuilder().WithObjects(secret).WithInterceptorFuncs(tc.broken).Build()
			got, err := kube.Value(t.Context(), reader, tc.reference)
			if string(got) != tc.want || fault.KindOf(err) != tc.kind {
				t.Fatalf("got %q, %v", got, err)
			}
			if err != nil && (!strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "horse")) {
				t.Errorf("got %v, want %q", err, tc.says)
			}
			if errors.Is(err, fault.Internal) {
				t.Error(err)
			}
		})
	}
}
