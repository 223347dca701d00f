//go:build chaoscluster

package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// TestP1ChaosCluster is TestP1Chaos on three NATS servers, each stream on all of
// them. Whoever leads a stream is killed, stopped, and cut off from the two
// others while clients still reach it: what it acknowledged to them then must
// not be lost, and what it could not must come again.
// `make chaos-cluster` runs it: an election takes seconds, and a run minutes.
func TestP1ChaosCluster(t *testing.T) {
	plan := plannedChaos(t, chaosPlan{target: "chaos-cluster", seed: 20240621, faults: 60, length: time.Minute})
	var routes routing
	w := newChaosWorld(t, plan.seed, chaosShape{dispatchers: 2, workers: 3, replicas: 3, nats: routes.servers})
	w.required = append(w.required, "kill -9 of a stream's leader", "SIGSTOP of a stream's leader", "a stream's leader cut off")
	w.breakAndProve(plan, "Three NATS servers", (*breaker).killLeader, (*breaker).freezeLeader, routes.cutLeader)
}

// leader is the server that leads one of the streams, unless it is broken or
// unknown.
func (b *breaker) leader() (int, *slot) {
	ctx, cancel := context.WithTimeout(b.w.Context(), time.Second)
	defer cancel()
	name, err := b.w.leader(ctx, []string{"COMMITS", "LOADS", "EVENTS", "ROWS"}[b.random.IntN(4)])
	if err != nil {
		return 0, nil
	}
	for i, s := range b.w.nats {
		if s.name == "nats "+name && !s.broken {
			return i, s
		}
	}
	return 0, nil
}

func (w *chaosWorld) leader(ctx context.Context, stream string) (string, error) {
	conn, err := nats.Connect(w.env["LOADFLEET_NATS_URL"], nats.Timeout(time.Second))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return "", err
	}
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return "", err
	}
	if cluster := s.CachedInfo().Cluster; cluster != nil && cluster.Leader != "" {
		return cluster.Leader, nil
	}
	return "", errors.New("nobody leads")
}

func (b *breaker) killLeader() bool {
	_, s := b.leader()
	return b.kill(s, "a stream's leader", 100*time.Millisecond, 6*time.Second)
}

// freezeLeader has the others elect another before it wakes and finds out.
func (b *breaker) freezeLeader() bool {
	_, s := b.leader()
	return s != nil && b.freeze(s, "a stream's leader", 3*time.Second, 12*time.Second)
}

func (r *routing) cutLeader(b *breaker) bool {
	i, s := b.leader()
	if s == nil {
		return false
	}
	s.broken = true
	heal := r.cut(i, b.random.IntN(2) == 0)
	b.w.counts.add("a stream's leader cut off")
	b.after(b.between(3*time.Second, 12*time.Second), func() {
		heal()
		s.broken = false
	})
	return true
}
