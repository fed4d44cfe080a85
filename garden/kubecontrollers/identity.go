package kubecontrollers

import (
	"context"
	"fmt"
	"os"

	"k8s.io/client-go/util/keyutil"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/controller/bootstrap"
	"k8s.io/kubernetes/pkg/controller/certificates/approver"
	"k8s.io/kubernetes/pkg/controller/certificates/cleaner"
	"k8s.io/kubernetes/pkg/controller/certificates/signer"
	"k8s.io/kubernetes/pkg/controller/clusterroleaggregation"
	serviceaccountcontroller "k8s.io/kubernetes/pkg/controller/serviceaccount"
	"k8s.io/kubernetes/pkg/serviceaccount"
)

// certificates approves the certificate requests that need nobody's judgement,
// signs approved ones for clients of this API, and removes old ones.
func certificates(ctx context.Context, shared *clients, config Config) ([]runner, error) {
	requests := shared.typed.Certificates().V1().CertificateSigningRequests()
	signing, err := signer.NewKubeAPIServerClientCSRSigningController(ctx, shared.kube, requests, config.CACert, config.CAKey, signedFor)
	if err != nil {
		return nil, fmt.Errorf("preparing the signing of certificate requests: %w", err)
	}
	approving := approver.NewCSRApprovingController(ctx, shared.kube, requests)
	cleaning := cleaner.NewCSRCleanerController(shared.kube.CertificatesV1().CertificateSigningRequests(), requests)
	return []runner{
		func(ctx context.Context) { approving.Run(ctx, workers) },
		func(ctx context.Context) { signing.Run(ctx, workers) },
		func(ctx context.Context) { cleaning.Run(ctx, 1) },
	}, nil
}

// serviceAccounts makes the account "default" of every namespace, and tokens
// for secrets that ask for one.
func serviceAccounts(ctx context.Context, shared *clients, config Config) ([]runner, error) {
	logger := klog.FromContext(ctx)
	accountInformer := shared.typed.Core().V1().ServiceAccounts()
	accounts, err := serviceaccountcontroller.NewServiceAccountsController(logger, accountInformer,
		shared.typed.Core().V1().Namespaces(), shared.kube, serviceaccountcontroller.DefaultServiceAccountsControllerOptions())
	if err != nil {
		return nil, fmt.Errorf("preparing service accounts: %w", err)
	}
	key, err := keyutil.PrivateKeyFromFile(config.ServiceAccountKey)
	if err != nil {
		return nil, fmt.Errorf("reading key %q: %w", config.ServiceAccountKey, err)
	}
	// Tokens in secrets have an issuer of their own, by which they are told apart.
	generator, err := serviceaccount.JWTTokenGenerator(serviceaccount.LegacyIssuer, key)
	if err != nil {
		return nil, fmt.Errorf("preparing service account tokens: %w", err)
	}
	ca, err := os.ReadFile(config.CACert)
	if err != nil {
		return nil, fmt.Errorf("reading authority %q: %w", config.CACert, err)
	}
	tokens, err := serviceaccountcontroller.NewTokensController(logger, accountInformer, shared.typed.Core().V1().Secrets(), shared.kube,
		serviceaccountcontroller.TokensControllerOptions{TokenGenerator: generator, RootCA: ca})
	if err != nil {
		return nil, fmt.Errorf("preparing service account tokens: %w", err)
	}
	return []runner{
		func(ctx context.Context) { accounts.Run(ctx, workers) },
		func(ctx context.Context) { tokens.Run(ctx, workers) },
	}, nil
}

// roles adds up cluster roles that are made of others.
func roles(_ context.Context, shared *clients, _ Config) ([]runner, error) {
	aggregation := clusterroleaggregation.NewClusterRoleAggregation(shared.typed.Rbac().V1().ClusterRoles(), shared.kube.RbacV1())
	return []runner{func(ctx context.Context) { aggregation.Run(ctx, workers) }}, nil
}

// bootstrapTokens deletes expired ones.
func bootstrapTokens(_ context.Context, shared *clients, _ Config) ([]runner, error) {
	tokenCleaner, err := bootstrap.NewTokenCleaner(shared.kube, shared.typed.Core().V1().Secrets(), bootstrap.DefaultTokenCleanerOptions())
	if err != nil {
		return nil, fmt.Errorf("preparing the removal of bootstrap tokens: %w", err)
	}
	return []runner{tokenCleaner.Run}, nil
}
