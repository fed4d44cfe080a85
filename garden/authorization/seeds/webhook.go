package seeds

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/kubernetes/pkg/apis/authorization"
	kubeauthorizationv1 "k8s.io/kubernetes/pkg/apis/authorization/v1"
	"k8s.io/kubernetes/pkg/registry/authorization/util"
)

// maxReview bounds a review: the selectors in it are the user's, and URLs end
// long before.
const maxReview = 1 << 20

// Webhook answers SubjectAccessReviews of authorization.k8s.io/v1, as an API
// server sends them to an authorizer in mode Webhook. Who may ask is for the
// server in front of it to say.
func (a *Authorizer) Webhook() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			http.Error(w, "only POST is answered", http.StatusMethodNotAllowed)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxReview))
		if err != nil {
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
			return
		}
		var review authorizationv1.SubjectAccessReview
		if err := json.Unmarshal(body, &review); err != nil {
			http.Error(w, fmt.Sprintf("reading the review: %v", err), http.StatusBadRequest)
			return
		}
		if kind := review.GroupVersionKind(); kind != authorizationv1.SchemeGroupVersion.WithKind("SubjectAccessReview") {
			http.Error(w, fmt.Sprintf("kind: %q is not a SubjectAccessReview of %s", kind, authorizationv1.SchemeGroupVersion), http.StatusBadRequest)
			return
		}
		var spec authorization.SubjectAccessReviewSpec
		if err := kubeauthorizationv1.Convert_v1_SubjectAccessReviewSpec_To_authorization_SubjectAccessReviewSpec(&review.Spec, &spec, nil); err != nil {
			http.Error(w, fmt.Sprintf("reading the review: %v", err), http.StatusBadRequest)
			return
		}
		decision, reason, err := a.Authorize(r.Context(), util.AuthorizationAttributesFrom(spec))
		review.Status = authorizationv1.SubjectAccessReviewStatus{
			Allowed: decision == authorizer.DecisionAllow, Denied: decision == authorizer.DecisionDeny, Reason: reason,
		}
		if err != nil {
			review.Status.EvaluationError = err.Error()
		}
		w.Header().Set("Content-Type", "application/json")
		// A client that has gone away is not told.
		_ = json.NewEncoder(w).Encode(review)
	})
}
