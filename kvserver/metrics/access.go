package metrics

import (
	"raftkv/kvserver/access"
	"raftkv/kvserver/auth"
)

// Authenticated counts a question for an identity; see access.Observer.
func (m *Metrics) Authenticated(r access.Result) { m.authRequests[r].Inc() }

// WouldDeny counts a request that is served only because nothing is enforced yet.
func (m *Metrics) WouldDeny(right auth.Right) {
	m.wouldDeny.WithLabelValues(right.String()).Inc()
}

// Limited counts a request of an identity that has used what it may. A cluster has a
// bounded number of identities.
func (m *Metrics) Limited(identity string) { m.limited.WithLabelValues(identity).Inc() }
