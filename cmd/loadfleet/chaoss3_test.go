package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/loadfleet/loadfleet/storage/storagetest"
)

// s3Faults makes requests to the store fail: each with a small chance, all of
// them in a storm or while the store is away, and those to a shut bucket.
type s3Faults struct {
	counts *faultCounts

	mu     sync.Mutex
	random *rand.Rand
	decks  map[storagetest.Operation]*deck[storagetest.Fault]
	chance float64
	storm  *storagetest.Fault
	away   bool
	shut   bool
	swept  int // requests that failed in storms, while the store was away or its bucket shut
}

func newS3Faults(seed uint64, counts *faultCounts) *s3Faults {
	return &s3Faults{counts: counts, random: rand.New(rand.NewPCG(seed, 3)), decks: map[storagetest.Operation]*deck[storagetest.Fault]{}, chance: 0.08}
}

// deck is dealt in random order, and again when it is used up: a short run
// meets as many kinds of fault as it can.
type deck[C any] struct{ all, left []C }

func (d *deck[C]) deal(random *rand.Rand) C {
	if len(d.left) == 0 {
		d.left = slices.Clone(d.all)
	}
	i := random.IntN(len(d.left))
	card := d.left[i]
	d.left = slices.Delete(d.left, i, i+1)
	return card
}

// faultsOf are the faults that a request of an operation may meet.
func faultsOf(o storagetest.Operation) []storagetest.Fault {
	either := []storagetest.Fault{storagetest.SlowDown, storagetest.InternalError, storagetest.DroppedReply, storagetest.ServiceIsClosed}
	applied := []storagetest.Fault{storagetest.InternalError.ButApplied(), storagetest.DroppedReply.ButApplied()}
	late := []storagetest.Fault{storagetest.ComesLate.After(1500 * time.Millisecond), storagetest.ComesLate.After(5 * time.Second),
		storagetest.AnswerLate.After(3 * time.Second)}
	all := either
	switch o {
	case storagetest.PutObject:
		all = append(all, storagetest.ConflictError, storagetest.CutRequest, storagetest.BodyCameTooLate)
		all = append(append(all, applied...), late...)
	case storagetest.UploadPart:
		all = append(append(all, storagetest.CutRequest, storagetest.BodyCameTooLate), applied...)
	case storagetest.CompleteUpload:
		all = append(all, storagetest.ConflictError, storagetest.EmptyOK, storagetest.EmptyOK.ButApplied(),
			storagetest.ErrorAfterOK, storagetest.ErrorAfterOK.ButApplied())
		all = append(append(all, applied...), late...)
	case storagetest.CopyObject, storagetest.CopyPart:
		all = append(all, storagetest.ErrorAfterOK, storagetest.ErrorAfterOK.ButApplied(), storagetest.EmptyOK, storagetest.EmptyOK.ButApplied())
		all = append(append(all, applied...), late...)
	case storagetest.AbortUpload, storagetest.DeleteObject:
		all = append(all, applied...)
	}
	return all
}

func (f *s3Faults) judge(o storagetest.Operation, r *http.Request) (storagetest.Fault, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fault, hit, alone := f.choose(o, r)
	switch {
	case alone:
		f.counts.add(fmt.Sprintf("S3: %s, at %s", fault, o))
	case hit:
		f.swept++
	}
	return fault, hit
}

// choose chooses the fault of a request, if any, and tells one that is for this
// request alone.
func (f *s3Faults) choose(o storagetest.Operation, r *http.Request) (fault storagetest.Fault, hit, alone bool) {
	switch {
	case f.away:
		return storagetest.DroppedReply, true, false
	case f.shut && strings.HasPrefix(r.URL.Path, "/"+shutBucket+"/"):
		return storagetest.DeniedByPolicy, true, false
	case f.storm != nil && f.random.Float64() < 0.9:
		storm := *f.storm
		if o == storagetest.CreateUpload {
			storm.Applied = false // an upload whose id nobody heard is nobody's to abort
		}
		return storm, true, false
	case f.random.Float64() < f.chanceOf(o):
		if f.decks[o] == nil {
			f.decks[o] = &deck[storagetest.Fault]{all: faultsOf(o)}
		}
		return f.decks[o].deal(f.random), true, true
	}
	return fault, false, false
}

// chanceOf is greater where there are few requests.
func (f *s3Faults) chanceOf(o storagetest.Operation) float64 {
	switch o {
	case storagetest.CopyObject, storagetest.CopyPart, storagetest.UploadPart, storagetest.CompleteUpload:
		return 2 * f.chance
	}
	return f.chance
}

// set changes the faults of the store.
func (f *s3Faults) set(change func(*s3Faults)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}
