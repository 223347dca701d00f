package embedded

import (
	"io"
	"sync"
)

// keyLocks is a read-write lock per object key. Locks are dropped with their
// last user, so the table holds only keys in use. The zero value is ready.
type keyLocks struct {
	mu    sync.Mutex
	locks map[string]*keyLock
}

type keyLock struct {
	sync.RWMutex
	users int
}

func (l *keyLocks) shared(bucket, key string) (release func()) {
	lock, drop := l.take(bucket + "/" + key)
	lock.RLock()
	return func() { lock.RUnlock(); drop() }
}

func (l *keyLocks) alone(bucket, key string) (release func()) {
	lock, drop := l.take(bucket + "/" + key)
	lock.Lock()
	return func() { lock.Unlock(); drop() }
}

func (l *keyLocks) take(name string) (*keyLock, func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.locks == nil {
		l.locks = map[string]*keyLock{}
	}
	lock := l.locks[name]
	if lock == nil {
		lock = &keyLock{}
		l.locks[name] = lock
	}
	lock.users++
	return lock, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if lock.users--; lock.users == 0 {
			delete(l.locks, name)
		}
	}
}

// publishing is the body of an upload that takes a lock when it has been read
// to its end: receiving a body may take minutes and disturbs nobody, putting
// it in place must be seen by nobody.
type publishing struct {
	io.Reader
	left    int64
	lock    func() (release func())
	release func()
}

func (p *publishing) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	if p.left -= int64(n); p.left <= 0 || err != nil {
		p.begin()
	}
	return n, err
}

func (p *publishing) begin() {
	if p.release == nil {
		p.release = p.lock()
	}
}

func (p *publishing) end() {
	if p.release != nil {
		p.release()
	}
}
