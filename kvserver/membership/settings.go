package membership

import (
	"slices"

	"raftkv/kvserver/api"
	"raftkv/kvserver/failure"
	"raftkv/raft/members"
)

// joinWords are the values of Settings.JoinBy in the words of the API.
var joinWords = []string{members.JoinByToken: api.JoinByToken, members.JoinByCertificate: api.JoinByCertificate}

// ChangeSettings returns what a body does with the cluster's settings: what it leaves out
// stays as it is.
func ChangeSettings(b api.ClusterSettings) (func(*members.Settings), error) {
	if b.Join != nil && !slices.Contains(joinWords, *b.Join) {
		return nil, failure.Of(failure.BadRequest, nil, "join is %.40q; choose token or certificate", *b.Join)
	}
	return func(s *members.Settings) {
		take(&s.Wanted, b.Wanted)
		take(&s.Promotion, b.Promotion)
		take(&s.PromoteAfter, b.PromoteAfterMs)
		take(&s.Autopilot, b.Autopilot)
		take(&s.ReplaceAfter, b.ReplaceAfterMs)
		take(&s.DeadAfter, b.DeadAfterMs)
		take(&s.PeerTLS, b.PeerTLS)
		if b.Join != nil {
			s.JoinBy = members.JoinBy(slices.Index(joinWords, *b.Join))
		}
	}, nil
}

// take sets a field to what a body says, if it says something.
func take[T any](field *T, said *T) {
	if said != nil {
		*field = *said
	}
}

// DescribeSettings returns the settings as clients see them.
func DescribeSettings(s members.Settings) api.ClusterSettings {
	return api.ClusterSettings{
		Wanted: &s.Wanted, Promotion: &s.Promotion, PromoteAfterMs: &s.PromoteAfter,
		Autopilot: &s.Autopilot, ReplaceAfterMs: &s.ReplaceAfter, DeadAfterMs: &s.DeadAfter, Join: &joinWords[s.JoinBy], PeerTLS: &s.PeerTLS,
	}
}

// Transport is how this node speaks with its peers.
type Transport struct {
	// DialsTLS: where it connects to another server, that one must show its certificate.
	DialsTLS bool
	// RequiresTLS: it speaks TLS to them, and to nobody without it.
	RequiresTLS bool
	// SharesCertificate: one certificate is that of all nodes, so it names none of them.
	SharesCertificate bool
}

// checkTransport refuses settings that this node itself could not live with.
func (t Transport) checkTransport(old, s *members.Settings) error {
	switch {
	case s.PeerTLS && !old.PeerTLS && !t.RequiresTLS:
		return failure.Of(failure.BadRequest, nil, "peer_tls_required would refuse this leader at its next start, since it takes peers without TLS: move all nodes to --peer-tls require first")
	case s.JoinBy == members.JoinByCertificate && old.JoinBy != s.JoinBy && t.SharesCertificate:
		return failure.Of(failure.BadRequest, nil, "join cannot be certificate here: the nodes share one certificate (--peer-identity cluster), which names nobody, so whoever has it could join under any name; let nodes join by token")
	}
	return nil
}

// checkSettings refuses times after which the autopilot would act on a restart.
func checkSettings(s *members.Settings) error {
	if after := s.DeadAfter; after < minDeadAfter {
		return failure.Of(failure.BadRequest, nil, "autopilot is to remove members that have been silent for %d ms (dead_after_ms): choose %d or more", after, minDeadAfter)
	}
	if after := s.ReplaceAfter; after < minReplaceAfter {
		return failure.Of(failure.BadRequest, nil, "autopilot is to replace voters that have been silent for %d ms (replace_after_ms): choose %d or more", after, minReplaceAfter)
	}
	return nil
}
