// Package prefill renders what is put into the etcd of a new cluster before its API
// server looks: what every cluster has, and what an API server and its controllers
// would else make one by one, which on two processors takes seconds in which no pod
// starts.
//
// The flow calls it for the machines of a control plane that begins. It is pure, and
// must not know machines, nor how and when what it renders is sent.
package prefill

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// operations is how many keys one transaction may write: etcd's default of
// --max-txn-ops.
const operations = 128

// Cluster is what the objects depend on.
type Cluster struct {
	// KubernetesVersion is a full version with v: v1.36.3.
	KubernetesVersion string
	// CA is the certificate authority of its API server, PEM.
	CA []byte
	// Created is when the objects say that they were made.
	Created time.Time
	// NewUID makes a UID, another one for each object: that of a namespace is taken
	// for the identity of a cluster.
	NewUID func() types.UID
}

// Requests renders the requests to etcd's gateway (HTTP/1.1, POST /v3/kv/txn), as they
// are to be sent over one connection, which the answer to the last one ends. Each is
// carried out only where none of its keys exists.
func Requests(c Cluster) ([]byte, error) {
	objects, err := c.objects()
	if err != nil {
		return nil, err
	}
	bodies, err := transactions(objects)
	if err != nil {
		return nil, err
	}
	var requests bytes.Buffer
	for i, body := range bodies {
		connection := "keep-alive"
		if i == len(bodies)-1 {
			connection = "close"
		}
		requests.WriteString("POST /v3/kv/txn HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: " + connection +
			"\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n")
		requests.Write(body)
	}
	return requests.Bytes(), nil
}

// object is one with its key in etcd. API servers of every version read JSON as well
// as what they write themselves.
type object struct {
	key   string
	value metav1.Object
}

// The messages of etcd's gateway: etcdserverpb.TxnRequest in the JSON form of
// protobuf, with bytes in base64.
type (
	transaction struct {
		Compare []compare `json:"compare"`
		Success []success `json:"success"`
	}
	compare struct {
		Key            []byte `json:"key"`
		Target         string `json:"target"`
		Result         string `json:"result"`
		CreateRevision string `json:"create_revision"`
	}
	success struct {
		Put put `json:"request_put"`
	}
	put struct {
		Key   []byte `json:"key"`
		Value []byte `json:"value"`
	}
)

func transactions(objects []object) ([][]byte, error) {
	var bodies [][]byte
	for part := range slices.Chunk(objects, operations) {
		var t transaction
		for _, o := range part {
			value, err := json.Marshal(o.value)
			if err != nil {
				return nil, fmt.Errorf("writing %s: %w", o.key, err)
			}
			t.Compare = append(t.Compare, compare{Key: []byte(o.key), Target: "CREATE", Result: "EQUAL", CreateRevision: "0"})
			t.Success = append(t.Success, success{put{Key: []byte(o.key), Value: value}})
		}
		body, err := json.Marshal(t)
		if err != nil {
			return nil, err
		}
		bodies = append(bodies, body)
	}
	return bodies, nil
}
