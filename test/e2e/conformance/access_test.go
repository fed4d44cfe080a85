package conformance_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
)

func accessChecks() []check {
	return []check{
		{"roles", "a service account may do what its role says, in its namespace, and nothing else", roles},
		{"token of a service account", "a token is for its audience and is taken back with its pod", accountToken},
		{"API from inside a pod", "a pod reaches the API with the token and the authority that it was given", insidePod},
		{"anonymous requests", "somebody unknown learns no more than that the API server lives", anonymous},
		{"certificate requests", "a certificate that was approved and signed lets its user in", signing},
		{"pod security", "a namespace that enforces a standard refuses pods that break it", podSecurity},
	}
}

// as is a client with a token of a service account of the check.
func (s *scope) as(account string) kubernetes.Interface {
	s.Helper()
	request, err := s.set.CoreV1().ServiceAccounts(s.namespace).CreateToken(s.ctx, account, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	s.must(err)
	config := rest.AnonymousClientConfig(s.config)
	config.BearerToken = request.Status.Token
	set, err := kubernetes.NewForConfig(config)
	s.must(err)
	return set
}

func (s *scope) account(name string) {
	s.Helper()
	_, err := s.set.CoreV1().ServiceAccounts(s.namespace).Create(s.ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	s.must(err)
}

func (s *scope) allow(account string, rule rbacv1.PolicyRule) {
	s.Helper()
	_, err := s.set.RbacV1().Roles(s.namespace).Create(s.ctx, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: account}, Rules: []rbacv1.PolicyRule{rule}}, metav1.CreateOptions{})
	s.must(err)
	_, err = s.set.RbacV1().RoleBindings(s.namespace).Create(s.ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: account}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: account},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: account, Namespace: s.namespace}},
	}, metav1.CreateOptions{})
	s.must(err)
}

func roles(s *scope) {
	s.account("reader")
	s.configMap("a", nil)
	set := s.as("reader")
	if _, err := set.CoreV1().ConfigMaps(s.namespace).Get(s.ctx, "a", metav1.GetOptions{}); !apierrors.IsForbidden(err) {
		s.Errorf("without a role it gets %v, want Forbidden", err)
	}
	s.allow("reader", rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get", "list"}})
	s.eventually(func() error {
		_, err := set.CoreV1().ConfigMaps(s.namespace).Get(s.ctx, "a", metav1.GetOptions{})
		return err
	})
	if err := set.CoreV1().ConfigMaps(s.namespace).Delete(s.ctx, "a", metav1.DeleteOptions{}); !apierrors.IsForbidden(err) {
		s.Errorf("another verb gives %v", err)
	}
	if _, err := set.CoreV1().ConfigMaps("kube-system").List(s.ctx, metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		s.Errorf("another namespace gives %v", err)
	}
	if _, err := set.CoreV1().Secrets(s.namespace).List(s.ctx, metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		s.Errorf("another resource gives %v", err)
	}
}

func accountToken(s *scope) {
	s.account("holder")
	p := s.running(s.pod("bearer", stay))
	request, err := s.set.CoreV1().ServiceAccounts(s.namespace).CreateToken(s.ctx, "holder", &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		Audiences: []string{"vault"}, ExpirationSeconds: ptr.To(int64(600)),
	}}, metav1.CreateOptions{})
	s.must(err)
	review := func(token string, audiences ...string) authenticationv1.TokenReviewStatus {
		got, err := s.set.AuthenticationV1().TokenReviews().Create(s.ctx, &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: audiences}}, metav1.CreateOptions{})
		s.must(err)
		return got.Status
	}
	if got := review(request.Status.Token, "vault"); !got.Authenticated || got.User.Username != "system:serviceaccount:"+s.namespace+":holder" {
		s.Errorf("its audience is told %+v", got)
	}
	if got := review(request.Status.Token); got.Authenticated {
		s.Error("the API server takes a token that is for another audience")
	}
	bound := strings.TrimSpace(s.sh("bearer", "cat /var/run/secrets/kubernetes.io/serviceaccount/token"))
	if got := review(bound); !got.Authenticated || got.User.Extra["authentication.kubernetes.io/pod-name"][0] != p.Name {
		s.Errorf("the token of a pod gives %+v", got)
	}
	s.must(s.set.CoreV1().Pods(s.namespace).Delete(s.ctx, p.Name, metav1.DeleteOptions{}))
	s.until("the token has ended with its pod", func() (bool, error) { return !review(bound).Authenticated, nil })
}

// insidePod has a resolver of its own ask the API: it is ready once that has
// answered, which it does to a client that trusts it and whom it knows.
func insidePod(s *scope) {
	s.account("inside")
	binding, err := s.set.RbacV1().ClusterRoleBindings().Create(s.ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: meta(s.namespace), RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "system:coredns"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: "inside", Namespace: s.namespace}},
	}, metav1.CreateOptions{})
	s.must(err)
	s.Cleanup(func() {
		s.removed(s.set.RbacV1().ClusterRoleBindings().Delete(background(), binding.Name, metav1.DeleteOptions{}))
	})
	dns, err := s.set.AppsV1().Deployments("kube-system").Get(s.ctx, "coredns", metav1.GetOptions{})
	s.must(err)
	s.configMap("names", map[string]string{"Corefile": ".:1053 {\n  errors\n  ready\n  kubernetes cluster.local\n}\n"})
	source := corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "names"}}}
	p := s.pod("asks", "", volume("names", source, "/names"))
	p.Spec.ServiceAccountName = "inside"
	c := &p.Spec.Containers[0]
	c.Image, c.Command, c.Args = dns.Spec.Template.Spec.Containers[0].Image, nil, []string{"-conf", "/names/Corefile"}
	c.ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/ready", Port: intstr.FromInt32(8181)}}, PeriodSeconds: 1}
	s.running(p)
	if said := s.logs("asks"); strings.Contains(said, "Failed to watch") {
		s.Errorf("it says %s", said)
	}
}

func anonymous(s *scope) {
	set, err := kubernetes.NewForConfig(rest.AnonymousClientConfig(s.config))
	s.must(err)
	if _, err := set.RESTClient().Get().AbsPath("/readyz").DoRaw(s.ctx); err != nil {
		s.Errorf("/readyz gives %v", err)
	}
	if _, err := set.CoreV1().Namespaces().List(s.ctx, metav1.ListOptions{}); !apierrors.IsForbidden(err) && !apierrors.IsUnauthorized(err) {
		s.Errorf("namespaces give %v, want a refusal", err)
	}
}

func signing(s *scope) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	s.must(err)
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "jane"}}, key)
	s.must(err)
	requests := s.set.CertificatesV1().CertificateSigningRequests()
	csr, err := requests.Create(s.ctx, &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{Name: s.namespace},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request:    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: request}),
			SignerName: certificatesv1.KubeAPIServerClientSignerName, Usages: []certificatesv1.KeyUsage{certificatesv1.UsageClientAuth},
			ExpirationSeconds: ptr.To(int32(600)),
		},
	}, metav1.CreateOptions{})
	s.must(err)
	s.Cleanup(func() { s.removed(requests.Delete(background(), s.namespace, metav1.DeleteOptions{})) })
	csr.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: "Checked"}}
	_, err = requests.UpdateApproval(s.ctx, csr.Name, csr, metav1.UpdateOptions{})
	s.must(err)
	s.until("it is signed", func() (bool, error) {
		csr, err = requests.Get(s.ctx, csr.Name, metav1.GetOptions{})
		return err == nil && len(csr.Status.Certificate) > 0, err
	})
	private, err := x509.MarshalECPrivateKey(key)
	s.must(err)
	config := rest.AnonymousClientConfig(s.config)
	config.CertData, config.KeyData = csr.Status.Certificate, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private})
	set, err := kubernetes.NewForConfig(config)
	s.must(err)
	me, err := set.AuthenticationV1().SelfSubjectReviews().Create(s.ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	s.must(err)
	if me.Status.UserInfo.Username != "jane" {
		s.Errorf("the certificate is of %q", me.Status.UserInfo.Username)
	}
}

func podSecurity(s *scope) {
	_, err := s.set.CoreV1().Namespaces().Patch(s.ctx, s.namespace, types.MergePatchType, []byte(`{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"baseline"}}}`), metav1.PatchOptions{})
	s.must(err)
	p := s.pod("mighty", "true")
	p.Spec.HostPID = true
	s.eventually(func() error { // the admission plug-in learns of the label by a watch
		_, err := s.set.CoreV1().Pods(s.namespace).Create(s.ctx, p, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if apierrors.IsForbidden(err) && strings.Contains(err.Error(), "hostPID") {
			return nil
		}
		return errNot("refused", err)
	})
	s.output(s.pod("plain", "true"))
}
