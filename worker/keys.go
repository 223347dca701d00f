package worker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/queue"
)

// keysLook bounds the look at the stored destinations before a worker starts.
const keysLook = 10 * time.Second

// CheckKeyring refuses a keyring that opens no stored destination's secret,
// though there are some: a worker with it would take loads only to park them.
// Where it opens some, it warns of the others. What cannot be read now is
// no reason against a start.
func CheckKeyring(ctx context.Context, q *queue.Queue, k *destination.Keyring, log *zap.Logger) error {
	look, cancel := context.WithTimeout(ctx, keysLook)
	defer cancel()
	stored, err := q.Destinations().List(look)
	if err != nil {
		log.Warn("seal keys not compared with the stored destinations", zap.Error(err))
		return nil
	}
	opened := 0
	var closed []string
	needed := map[string]bool{}
	for _, d := range stored {
		key, err := destination.SealedWith(d.Document)
		if err != nil || key == "" {
			continue // no secret, or none that any key opens: its loads say so
		}
		if _, err := k.Open(d.Document); !errors.Is(err, destination.ErrUnknownKey) {
			opened++
			continue
		}
		closed, needed[key] = append(closed, d.ID), true
	}
	if len(closed) == 0 {
		return nil
	}
	keys := slices.Sorted(maps.Keys(needed))
	if opened == 0 {
		return fmt.Errorf("--seal-key opens none of the %d stored secrets (destinations %s): %w; start with the key of id %s, several keys one a line",
			len(closed), someOf(closed), destination.ErrUnknownKey, strings.Join(keys, ", "))
	}
	log.Warn("--seal-key does not open the secrets of some destinations: their loads are parked",
		zap.String("destinations", someOf(closed)), zap.Int("count", len(closed)), zap.Strings("key_ids", keys),
		zap.String("do", "add the keys of these ids to --seal-key, one a line"))
	return nil
}

// someOf names the first of many.
func someOf(ids []string) string {
	const most = 10
	if len(ids) <= most {
		return strings.Join(ids, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(ids[:most], ", "), len(ids)-most)
}
