package conformance_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

func extensionChecks() []check {
	return []check{
		{"custom resource", "a resource of one's own has defaults, rules, a status and a scale", customResource},
		{"conversion webhook", "a resource of two versions is read in the other one through a webhook", conversion},
		{"admission webhooks", "a webhook changes and another refuses what is created, over TLS", admissionWebhooks},
		{"validating admission policy", "a policy in CEL refuses what breaks it, and names it", admissionPolicy},
	}
}

// define makes a resource widgets in a group of the check's own, gone with it.
func (s *scope) define(versions []apiextensionsv1.CustomResourceDefinitionVersion, conversion *apiextensionsv1.CustomResourceConversion) func(version string) dynamic.ResourceInterface {
	s.Helper()
	set, err := apiextensions.NewForConfig(s.config)
	s.must(err)
	group := s.namespace + ".loam.dev"
	crds := set.ApiextensionsV1().CustomResourceDefinitions()
	crd := &apiextensionsv1.CustomResourceDefinition{ObjectMeta: meta("widgets." + group), Spec: apiextensionsv1.CustomResourceDefinitionSpec{
		Group: group, Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: "widgets", Kind: "Widget"},
		Scope: apiextensionsv1.NamespaceScoped, Versions: versions, Conversion: conversion,
	}}
	_, err = crds.Create(s.ctx, crd, metav1.CreateOptions{})
	s.must(err)
	s.Cleanup(func() { s.removed(crds.Delete(background(), crd.Name, metav1.DeleteOptions{})) })
	s.until("the resource is served", func() (bool, error) {
		got, err := crds.Get(s.ctx, crd.Name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		for _, c := range got.Status.Conditions {
			if c.Type == apiextensionsv1.Established && c.Status == apiextensionsv1.ConditionTrue {
				return true, nil
			}
		}
		return false, nil
	})
	client, err := dynamic.NewForConfig(s.config)
	s.must(err)
	return func(version string) dynamic.ResourceInterface {
		return client.Resource(schema.GroupVersionResource{Group: group, Version: version, Resource: "widgets"}).Namespace(s.namespace)
	}
}

func (s *scope) removed(err error) {
	if err != nil && !apierrors.IsNotFound(err) {
		s.Logf("cleaning up: %v", err)
	}
}

func (s *scope) widget(version string, spec map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": s.namespace + ".loam.dev/" + version, "kind": "Widget", "metadata": map[string]any{"name": "w"}, "spec": spec,
	}}
}

const widgetSchema = `{"type": "object", "properties": {
	"spec": {"type": "object", "properties": {"size": {"type": "integer", "minimum": 1, "default": 3}, "colour": {"type": "string"}},
		"x-kubernetes-validations": [{"rule": "!has(self.colour) || self.colour != 'red' || self.size < 5", "message": "large ones are not red"}]},
	"status": {"type": "object", "properties": {"size": {"type": "integer"}}}}}`

func version(name string, storage bool) apiextensionsv1.CustomResourceDefinitionVersion {
	v := apiextensionsv1.CustomResourceDefinitionVersion{Name: name, Served: true, Storage: storage, Schema: &apiextensionsv1.CustomResourceValidation{
		OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{},
	}}
	if err := json.Unmarshal([]byte(widgetSchema), v.Schema.OpenAPIV3Schema); err != nil {
		panic(err) // a constant
	}
	return v
}

func customResource(s *scope) {
	v := version("v1", true)
	v.Subresources = &apiextensionsv1.CustomResourceSubresources{
		Status: &apiextensionsv1.CustomResourceSubresourceStatus{},
		Scale:  &apiextensionsv1.CustomResourceSubresourceScale{SpecReplicasPath: ".spec.size", StatusReplicasPath: ".status.size"},
	}
	widgets := s.define([]apiextensionsv1.CustomResourceDefinitionVersion{v}, nil)("v1")
	s.eventually(func() error {
		_, err := widgets.Create(s.ctx, s.widget("v1", map[string]any{"colour": "red", "unknown": "x"}), metav1.CreateOptions{})
		return err
	})
	got, err := widgets.Get(s.ctx, "w", metav1.GetOptions{})
	s.must(err)
	if fmt.Sprint(got.Object["spec"]) != "map[colour:red size:3]" {
		s.Errorf("with its defaults it is %v", got.Object["spec"])
	}
	for patch, want := range map[string]string{`{"spec":{"size":0}}`: "spec.size", `{"spec":{"size":9}}`: "large ones are not red"} {
		_, err := widgets.Patch(s.ctx, "w", types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), want) {
			s.Errorf("%s gives %v, want %q", patch, err, want)
		}
	}
	_, err = widgets.Patch(s.ctx, "w", types.MergePatchType, []byte(`{"spec":{"size":4},"status":{"size":4}}`), metav1.PatchOptions{}, "status")
	s.must(err)
	scale, err := widgets.Get(s.ctx, "w", metav1.GetOptions{}, "scale")
	s.must(err)
	if spec, status := fmt.Sprint(scale.Object["spec"]), fmt.Sprint(scale.Object["status"]); spec != "map[replicas:3]" || status != "map[replicas:4]" {
		s.Errorf("its scale is %s, %s", spec, status)
	}
}

// hostAddress is that of this process as the nodes reach it.
func (s *scope) hostAddress() string {
	s.Helper()
	interfaces, err := net.InterfaceAddrs()
	s.must(err)
	node := netip.MustParseAddr(s.addresses[s.workers[0]])
	for _, i := range interfaces {
		if prefix, err := netip.ParsePrefix(i.String()); err == nil && prefix.Masked().Contains(node) && prefix.Bits() > 0 {
			return prefix.Addr().String()
		}
	}
	s.Skipf("this host has no address beside that of node %s: nodes cannot call it", node)
	return ""
}

// serve answers JSON over TLS, and returns where and the authority that signed.
func (s *scope) serve(path string, answer func([]byte) any) (url string, authority []byte) {
	s.Helper()
	address := s.hostAddress()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	s.must(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.ParseIP(address)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	s.must(err)
	listener, err := tls.Listen("tcp", net.JoinHostPort(address, "0"), &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
	})
	s.must(err)
	mux := http.NewServeMux()
	mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		var raw json.RawMessage
		if err := json.NewDecoder(r.Body).Decode(&raw); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answer(raw)) // the caller has gone
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }() // ends with Close
	s.Cleanup(func() { _ = server.Close() })
	return "https://" + listener.Addr().String() + path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func conversion(s *scope) {
	url, authority := s.serve("/convert", func(raw []byte) any {
		var review apiextensionsv1.ConversionReview
		if err := json.Unmarshal(raw, &review); err != nil {
			return err.Error()
		}
		review.Response = &apiextensionsv1.ConversionResponse{UID: review.Request.UID, Result: metav1.Status{Status: metav1.StatusSuccess}}
		for _, o := range review.Request.Objects {
			var object unstructured.Unstructured
			if err := json.Unmarshal(o.Raw, &object.Object); err != nil {
				return err.Error()
			}
			object.SetAPIVersion(review.Request.DesiredAPIVersion)
			object.SetLabels(map[string]string{"converted": "yes"})
			review.Response.ConvertedObjects = append(review.Response.ConvertedObjects, runtime.RawExtension{Object: &object})
		}
		review.Request = nil
		return review
	})
	widgets := s.define([]apiextensionsv1.CustomResourceDefinitionVersion{version("v1", true), version("v2", false)}, &apiextensionsv1.CustomResourceConversion{
		Strategy: apiextensionsv1.WebhookConverter, Webhook: &apiextensionsv1.WebhookConversion{
			ClientConfig: &apiextensionsv1.WebhookClientConfig{URL: &url, CABundle: authority}, ConversionReviewVersions: []string{"v1"},
		},
	})
	s.eventually(func() error {
		_, err := widgets("v1").Create(s.ctx, s.widget("v1", map[string]any{}), metav1.CreateOptions{})
		return err
	})
	var got *unstructured.Unstructured
	s.eventually(func() (err error) {
		got, err = widgets("v2").Get(s.ctx, "w", metav1.GetOptions{})
		return err
	})
	if got.GetLabels()["converted"] != "yes" || !strings.HasSuffix(got.GetAPIVersion(), "/v2") {
		s.Errorf("as v2 it is %v", got.Object)
	}
}

func admissionWebhooks(s *scope) {
	review := func(decide func(*admissionv1.AdmissionRequest, *admissionv1.AdmissionResponse)) func([]byte) any {
		return func(raw []byte) any {
			var review admissionv1.AdmissionReview
			if err := json.Unmarshal(raw, &review); err != nil {
				return err.Error()
			}
			review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
			decide(review.Request, review.Response)
			review.Request = nil
			return review
		}
	}
	changing, changer := s.serve("/change", review(func(_ *admissionv1.AdmissionRequest, response *admissionv1.AdmissionResponse) {
		response.PatchType = new(admissionv1.PatchTypeJSONPatch)
		response.Patch = []byte(`[{"op":"add","path":"/data","value":{"changed":"yes"}}]`)
	}))
	refusing, refuser := s.serve("/refuse", review(func(request *admissionv1.AdmissionRequest, response *admissionv1.AdmissionResponse) {
		if request.Name == "bad" && strings.Contains(string(request.Object.Raw), `"changed":"yes"`) {
			response.Allowed, response.Result = false, &metav1.Status{Message: "nothing bad here"}
		}
	}))
	rules := []admissionregistrationv1.RuleWithOperations{{
		Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
		Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
	}}
	here := &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": s.namespace}}
	configurations := s.set.AdmissionregistrationV1()
	_, err := configurations.MutatingWebhookConfigurations().Create(s.ctx, &admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: meta(s.namespace), Webhooks: []admissionregistrationv1.MutatingWebhook{{
		Name: "change.loam.dev", Rules: rules, NamespaceSelector: here, AdmissionReviewVersions: []string{"v1"}, TimeoutSeconds: new(int32(30)),
		ClientConfig: admissionregistrationv1.WebhookClientConfig{URL: &changing, CABundle: changer}, SideEffects: new(admissionregistrationv1.SideEffectClassNone),
	}}}, metav1.CreateOptions{})
	s.must(err)
	s.Cleanup(func() {
		s.removed(configurations.MutatingWebhookConfigurations().Delete(background(), s.namespace, metav1.DeleteOptions{}))
	})
	_, err = configurations.ValidatingWebhookConfigurations().Create(s.ctx, &admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: meta(s.namespace), Webhooks: []admissionregistrationv1.ValidatingWebhook{{
		Name: "refuse.loam.dev", Rules: rules, NamespaceSelector: here, AdmissionReviewVersions: []string{"v1"}, TimeoutSeconds: new(int32(30)),
		ClientConfig: admissionregistrationv1.WebhookClientConfig{URL: &refusing, CABundle: refuser}, SideEffects: new(admissionregistrationv1.SideEffectClassNone),
	}}}, metav1.CreateOptions{})
	s.must(err)
	s.Cleanup(func() {
		s.removed(configurations.ValidatingWebhookConfigurations().Delete(background(), s.namespace, metav1.DeleteOptions{}))
	})
	s.refusedMap("nothing bad here")
	s.configMap("good", nil)
	good, err := s.set.CoreV1().ConfigMaps(s.namespace).Get(s.ctx, "good", metav1.GetOptions{})
	s.must(err)
	if good.Data["changed"] != "yes" {
		s.Errorf("what was created holds %v", good.Data)
	}
}

// refusedMap wants a config map named bad to be refused with a message, as soon
// as the API server knows by whom.
func (s *scope) refusedMap(message string) {
	s.Helper()
	s.eventually(func() error {
		bad := configMapNamed("bad")
		_, err := s.set.CoreV1().ConfigMaps(s.namespace).Create(s.ctx, bad, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err != nil && strings.Contains(err.Error(), message) {
			return nil
		}
		return errNot("refused with "+message, err)
	})
}

func admissionPolicy(s *scope) {
	policies := s.set.AdmissionregistrationV1()
	_, err := policies.ValidatingAdmissionPolicies().Create(s.ctx, &admissionregistrationv1.ValidatingAdmissionPolicy{ObjectMeta: meta(s.namespace), Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
		MatchConstraints: &admissionregistrationv1.MatchResources{ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{RuleWithOperations: admissionregistrationv1.RuleWithOperations{
			Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
			Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
		}}}},
		Validations: []admissionregistrationv1.Validation{{Expression: "object.metadata.name != 'bad'", MessageExpression: "'not ' + object.metadata.name"}},
	}}, metav1.CreateOptions{})
	s.must(err)
	s.Cleanup(func() {
		s.removed(policies.ValidatingAdmissionPolicies().Delete(background(), s.namespace, metav1.DeleteOptions{}))
	})
	_, err = policies.ValidatingAdmissionPolicyBindings().Create(s.ctx, &admissionregistrationv1.ValidatingAdmissionPolicyBinding{ObjectMeta: meta(s.namespace), Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
		PolicyName: s.namespace, ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
		MatchResources: &admissionregistrationv1.MatchResources{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": s.namespace}}},
	}}, metav1.CreateOptions{})
	s.must(err)
	s.Cleanup(func() {
		s.removed(policies.ValidatingAdmissionPolicyBindings().Delete(background(), s.namespace, metav1.DeleteOptions{}))
	})
	s.refusedMap("not bad")
	s.configMap("good", nil)
}
