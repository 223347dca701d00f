package queue_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/dispatcher"
	"github.com/loadfleet/loadfleet/queue"
	natsserver "github.com/loadfleet/loadfleet/queue/embedded"
	s3server "github.com/loadfleet/loadfleet/storage/embedded"
	"github.com/loadfleet/loadfleet/worker"
)

// fleetURL is where the examples' fleet is: what `loadfleet up` runs, with a
// destination "acme" for csv files, one a day.
func fleetURL() string {
	f, err := exampleFleet()
	if err != nil {
		panic(err)
	}
	return f.nats.URL()
}

type runningFleet struct {
	nats *natsserver.Server
	s3   *s3server.Server
	dir  string
	stop func()
}

// exampleFleet starts the fleet with the first example that asks for it.
var exampleFleet = sync.OnceValues(func() (*runningFleet, error) {
	f, err := startExampleFleet()
	stopExampleFleet = f.stop
	return f, err
})

// stopExampleFleet ends the fleet, when an example has started it.
var stopExampleFleet = func() {}

func startExampleFleet() (f *runningFleet, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	f = &runningFleet{stop: cancel}
	if f.dir, err = os.MkdirTemp("", "loadfleet-example"); err != nil {
		return nil, err
	}
	const access, secret = "LOADFLEETEXAMPLE0001", "the-secret-of-the-examples-00000000000001"
	if f.s3, err = s3server.Start(ctx, s3server.Config{
		Dir: filepath.Join(f.dir, "s3"), AccessKey: access, SecretKey: secret, Buckets: []string{"acme"},
	}); err != nil {
		return nil, err
	}
	if f.nats, err = natsserver.Start(natsserver.Config{Dir: filepath.Join(f.dir, "nats")}, zap.NewNop()); err != nil {
		return nil, err
	}
	q, err := queue.Connect(ctx, queue.Config{URL: f.nats.URL()}, zap.NewNop())
	if err != nil {
		return nil, err
	}
	if err := q.Provision(ctx); err != nil {
		return nil, err
	}
	settings, err := destination.Parse(fmt.Appendf(nil, `{"id": "acme", "connection_option": "access_keys", "access_key_id": %q,
		"secret_access_key": %q, "region": "us-east-1", "endpoint": %q, "path_style": true, "bucket": "acme",
		"folder": "{{filename}}", "file_name": "{{YYYY}}-{{MM}}-{{DD}}", "file_format": "csv"}`, access, secret, f.s3.Endpoint()), nil)
	if err != nil {
		return nil, err
	}
	keys, err := destination.ParseKeyring(destination.NewSealKey())
	if err != nil {
		return nil, err
	}
	document, err := keys.Seal(settings)
	if err != nil {
		return nil, err
	}
	if _, err := q.Destinations().Put(ctx, "acme", document, 0); err != nil {
		return nil, err
	}
	var actors sync.WaitGroup
	for _, run := range []func(context.Context) error{
		dispatcher.New(q, dispatcher.Config{}, zap.NewNop()).Run, worker.New(q, keys, worker.Config{}, zap.NewNop()).Run,
	} {
		actors.Go(func() {
			if err := run(ctx); err != nil {
				panic(err)
			}
		})
	}
	f.stop = func() {
		cancel()
		actors.Wait()
		_ = q.Close(context.Background())
		_ = f.s3.Close()
		_ = f.nats.Close()
		_ = os.RemoveAll(f.dir)
	}
	return f, nil
}
