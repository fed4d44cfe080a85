package shoots

import (
	"encoding/pem"

	"k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
)

func encodeCertificate(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: cert.CertificateBlockType, Bytes: der})
}

func encodePublicKey(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: keyutil.PublicKeyBlockType, Bytes: der})
}
