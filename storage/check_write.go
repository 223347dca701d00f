package storage

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// wrongETag is no object's.
const wrongETag = `"00000000000000000000000000000000"`

// write goes through the life of an object under the prefix.
func (c *checker) write(ctx context.Context) {
	c.probe(ctx, ProbePut, c.put)
	c.probe(ctx, ProbeRead, c.read)
	blocked := c.blocked
	if c.blocked == "" && !c.result["put"] {
		c.blocked = "needs an object, and put failed"
	}
	c.probe(ctx, ProbeConditions, c.conditions)
	c.probe(ctx, ProbeCopy, c.renew)
	c.probe(ctx, ProbeMultipart, c.multipart)
	c.blocked = blocked
	c.probe(ctx, ProbeDelete, c.deleteObject)
	c.nothingAllowed()
}

// note remembers what a put made.
func (c *checker) note(stored Stored, err error) {
	switch {
	case err == nil || errors.Is(err, ErrEncryption):
		c.stored, c.present = stored, isPresent
		if stored.VersionID != "" && stored.VersionID != "null" {
			c.versions = append(c.versions, stored.VersionID)
		}
	case errors.Is(err, ErrUnavailable) || errors.Is(err, context.Canceled):
		c.present = max(c.present, mayBePresent)
	}
}

func (c *checker) putAs(ctx context.Context, s *Store, condition Condition) error {
	stored, err := s.Put(ctx, c.cfg.Bucket, c.object, condition)
	c.note(stored, err)
	return err
}

func (c *checker) put(ctx context.Context, p *Probe) error {
	err := c.putAs(ctx, c.store, IfAbsent())
	if err == nil || errors.Is(err, ErrEncryption) { // reading back tells of that
		c.result["put"] = true
		p.Note = c.object.Key
		return nil
	}
	return c.explainPut(ctx, err)
}

// variant is another way to put the object. That it works tells what was
// wrong with the first.
type variant struct {
	cause     CauseID
	there     string
	change    func(*Access)
	condition Condition
}

// explainPut asks the store in other ways. A refusal itself does not say
// whether the object, its ACL, its key or its lack of a header is refused.
func (c *checker) explainPut(ctx context.Context, failed error) error {
	for _, v := range c.variants(failed) {
		if c.putAs(ctx, c.store.with(v.change), v.condition) == nil {
			return &found{cause: v.cause, there: v.there, err: failed}
		}
	}
	return failed
}

func (c *checker) variants(failed error) []variant {
	a := c.store.access
	encrypt := func(as string) func(*Access) {
		return func(a *Access) { a.Encryption, a.EncryptionKey = as, "" }
	}
	var out []variant
	reply, ok := errors.AsType[*Error](failed)
	switch {
	case !ok || reply.Status == 0:
	case errors.Is(failed, ErrDenied) && (reply.Code == "AccessDenied" || reply.Code == "Forbidden"):
		if c.store.acl() != "" {
			out = append(out, variant{cause: CauseDeniedACL, change: func(a *Access) { a.ACL = "" }})
		}
		switch {
		case c.store.encryption.Algorithm == string(types.ServerSideEncryptionAwsKms):
			cause := CauseKMSDenied
			switch f := asking(a); {
			case f.keyElsewhere():
				cause = CauseKMSWrongRegion
			case f.keyUnshared():
				cause = CauseKMSNotShared
			}
			out = append(out, variant{cause: cause, change: encrypt("none")}, variant{cause: cause, change: encrypt("sse-s3")})
		default:
			if c.store.encryption.Algorithm == "" {
				out = append(out, variant{cause: CauseEncryptionDemanded, there: "sse-s3", change: encrypt("sse-s3")})
			}
			out = append(out, variant{cause: CauseEncryptionDemanded, there: "sse-kms or sse-kms-customer", change: encrypt("sse-kms")})
		}
	case errors.Is(failed, ErrInvalid), bodyMistaken(reply.Code):
		out = append(out, variant{cause: CauseConditionsRefused, change: func(*Access) {}, condition: Always()})
		if a.Checksum {
			out = append(out, variant{cause: CauseChecksum, change: func(a *Access) { a.Checksum = false }})
		}
	}
	return out
}

// bodyMistaken tells whether the store read another body than was sent, as
// those do that do not know a checksum in the trailer.
func bodyMistaken(code string) bool {
	return code == "BadDigest" || code == "XAmzContentSHA256Mismatch" || code == "XAmzContentChecksumMismatch"
}

// asking is the table's view of an access, without a failure.
func asking(a Access) failed { return failed{reply: &Error{}, access: a} }

// with is the store with another access. It shares everything else.
func (s *Store) with(change func(*Access)) *Store {
	other := *s
	change(&other.access)
	if asked, err := askedEncryption(other.access); err == nil {
		other.encryption = asked
	}
	if !other.access.Checksum {
		options := s.client.Options()
		withoutChecksums(&options)
		other.client = s3.New(options)
	}
	return &other
}

func (c *checker) read(ctx context.Context, p *Probe) error {
	if c.present != isPresent {
		return c.readNothing(ctx, p)
	}
	stored, err := c.readBack(ctx)
	c.result["get"] = err == nil
	switch {
	case errors.Is(err, ErrDenied) && c.store.encryption.Algorithm == string(types.ServerSideEncryptionAwsKms) && c.result["put"]:
		return c.explainRead(ctx, err)
	case err != nil:
		return err
	}
	p.Note = "encrypted with " + stored.Encryption.String()
	if !c.result["put"] {
		p.Note = "" // what was put was put otherwise
		return nil
	}
	if err := c.store.encryption.check(stored.Encryption); err != nil {
		return &Error{Op: "get", Bucket: c.cfg.Bucket, Key: c.object.Key, Err: err}
	}
	return c.foreignKey(stored)
}

// String names the encryption as reports show it.
func (e Encryption) String() string {
	switch {
	case e.Algorithm == "":
		return "nothing, as far as the store tells"
	case e.KeyID == "":
		return e.Algorithm
	}
	return e.Algorithm + " " + e.KeyID
}

// foreignKey finds a key that the bucket's account cannot use.
func (c *checker) foreignKey(stored Stored) error {
	account, owner := arnPart(stored.Encryption.KeyID, 4), c.store.access.BucketOwner
	if owner == "" || account == "" || account == owner || c.store.access.Encryption != "sse-kms" {
		return nil
	}
	return &found{cause: CauseKMSNotShared, there: fmt.Sprintf(" (%s, of the account %s)", stored.Encryption.KeyID, account),
		err: &Error{Op: "get", Bucket: c.cfg.Bucket, Key: c.object.Key, Err: ErrEncryption}}
}

// readNothing asks for an object that is not there: whether that is said
// tells of the permission too.
func (c *checker) readNothing(ctx context.Context, p *Probe) error {
	body, _, err := c.store.Get(ctx, c.cfg.Bucket, c.object.Key)
	switch {
	case err == nil:
		return body.Close()
	case errors.Is(err, ErrNotFound):
		c.result["get"] = true
		p.Note = "allowed, but there was nothing to read"
		return nil
	case errors.Is(err, ErrDenied) && !c.result["list"]:
		return p.skip("nothing was put, and without s3:ListBucket a missing object looks like a forbidden one")
	}
	return err
}

func (c *checker) readBack(ctx context.Context) (Stored, error) {
	body, stored, err := c.store.Get(ctx, c.cfg.Bucket, c.object.Key)
	if err != nil {
		return Stored{}, err
	}
	got, err := io.ReadAll(io.LimitReader(body, c.object.Size+1))
	if err := errors.Join(err, body.Close()); err != nil {
		return Stored{}, failure(ctx, "get", c.cfg.Bucket, c.object.Key, err)
	}
	want := make([]byte, c.object.Size)
	if _, err := c.object.Body.ReadAt(want, 0); err != nil && !errors.Is(err, io.EOF) {
		return Stored{}, err
	}
	if !bytes.Equal(got, want) {
		return Stored{}, &Error{Op: "get", Bucket: c.cfg.Bucket, Key: c.object.Key,
			Err: &verdict{ErrUnavailable, fmt.Errorf("the store gave back %d bytes that differ from the %d put", len(got), len(want))}}
	}
	return stored, nil
}

// explainRead looks whether an object without the key can be read.
func (c *checker) explainRead(ctx context.Context, failed error) error {
	plain := c.store.with(func(a *Access) { a.Encryption, a.EncryptionKey = "none", "" })
	if c.putAs(ctx, plain, Always()) != nil {
		return failed
	}
	if _, err := c.readBack(ctx); err != nil {
		return failed
	}
	return &found{cause: CauseKMSDecrypt, err: failed}
}

// conditions tries what keeps an older file from replacing a newer one.
func (c *checker) conditions(ctx context.Context, p *Probe) error {
	if c.store.Unconditional() {
		return c.guardedByLease(ctx)
	}
	return c.honours(ctx, c.store, p)
}

// guardedByLease says what a lease is worth, and whether the store needs none.
func (c *checker) guardedByLease(ctx context.Context) error {
	err := c.honours(ctx, c.store.with(func(a *Access) { a.Unconditional = false }), new(Probe))
	cause := CauseLeaseNeedless
	if err != nil {
		cause = CauseGuardedByLease
	}
	return &warning{&found{cause: cause, err: &Error{Op: "put", Bucket: c.cfg.Bucket, Key: c.object.Key, Err: cmp.Or(err, ErrPrecondition)}}}
}

// honours tries whether a store judges conditions.
func (c *checker) honours(ctx context.Context, store *Store, p *Probe) error {
	var ignored []string
	switch err := c.putAs(ctx, store, IfAbsent()); {
	case err == nil || errors.Is(err, ErrEncryption):
		ignored = append(ignored, "If-None-Match")
	case !errors.Is(err, ErrPrecondition):
		return err
	}
	if !c.result["get"] {
		p.Note = "If-Match was not tried: it needs s3:GetObject"
	} else {
		right := c.stored.ETag
		switch err := c.putAs(ctx, store, IfMatch(wrongETag)); {
		case err == nil || errors.Is(err, ErrEncryption):
			ignored, right = append(ignored, "If-Match"), c.stored.ETag
		case notSupported(err):
			return &found{cause: CauseConditionsRefused, err: err}
		case !errors.Is(err, ErrPrecondition):
			return err
		}
		if err := c.putAs(ctx, store, IfMatch(right)); err != nil && !errors.Is(err, ErrEncryption) {
			return err
		}
	}
	return c.ignoring(ignored, "put")
}

// ignoring is the warning that a store ignores these conditions.
func (c *checker) ignoring(headers []string, op string) error {
	if len(headers) == 0 || c.store.Unconditional() && op != "put" {
		return nil
	}
	return &warning{&found{cause: CauseNoConditions, there: fmt.Sprintf(" (it ignores %v of a %s)", headers, op),
		err: &Error{Op: op, Bucket: c.cfg.Bucket, Key: c.object.Key, Err: ErrPrecondition}}}
}

func (c *checker) renew(ctx context.Context, p *Probe) error {
	if !c.result["get"] {
		return p.skip("needs s3:GetObject")
	}
	meta := c.object.Meta
	meta.Generation++
	stored, err := c.store.Restamp(ctx, c.cfg.Bucket, c.object.Key, c.stored, meta)
	c.note(stored, err)
	if err != nil && !errors.Is(err, ErrEncryption) {
		return err
	}
	head, err := c.store.Head(ctx, c.cfg.Bucket, c.object.Key)
	if err != nil {
		return err
	}
	if head.Meta != meta {
		return &Error{Op: "restamp", Bucket: c.cfg.Bucket, Key: c.object.Key, Code: "NotImplemented",
			Err: &verdict{ErrInvalid, errors.New("the store said that it renewed the metadata, and did not")}}
	}
	c.stored = head
	return c.store.checkEncryption("restamp", c.cfg.Bucket, head)
}

// multipart uploads one part and tries to complete under a condition that
// does not hold, which leaves nothing to keep.
func (c *checker) multipart(ctx context.Context, p *Probe) error {
	o := c.object
	o.Meta.Load += "-parts"
	u := &upload{store: c.store, bucket: c.cfg.Bucket, object: o, form: parts, partSize: o.Size, parts: make([]types.CompletedPart, 1)}
	if err := u.create(ctx); err != nil {
		return err
	}
	c.uploads = append(c.uploads, u.id)
	if err := u.sendPart(ctx, 0); err != nil {
		return err
	}
	stored, _, err := u.complete(ctx, IfAbsent())
	var ignored error
	switch {
	case err == nil || errors.Is(err, ErrEncryption):
		c.note(stored, nil)
		ignored = c.ignoring([]string{"If-None-Match"}, "complete upload")
	case !errors.Is(err, ErrPrecondition):
		return err
	}
	if err := c.abort(ctx, u.id); err != nil {
		return &warning{c.completeInstead(ctx, u, err)}
	}
	c.uploads = nil
	return ignored
}

// completeInstead makes an object of an upload that cannot be aborted: objects
// we may delete.
func (c *checker) completeInstead(ctx context.Context, u *upload, failed error) error {
	if stored, _, err := u.complete(ctx, Always()); err == nil || errors.Is(err, ErrEncryption) {
		c.note(stored, nil)
		c.uploads = nil
	}
	return failed
}

// abort ends an upload; one that is gone already is no error.
func (c *checker) abort(ctx context.Context, id string) error {
	_, err := call(ctx, c.store, &s3.AbortMultipartUploadInput{
		Bucket: &c.cfg.Bucket, Key: &c.object.Key, UploadId: &id, ExpectedBucketOwner: c.store.owner(),
	}, c.store.client.AbortMultipartUpload)
	if err == nil {
		return nil
	}
	if failed := failure(ctx, "abort upload", c.cfg.Bucket, c.object.Key, err); failed.Code != "NoSuchUpload" {
		return failed
	}
	return nil
}

func (c *checker) deleteObject(ctx context.Context, p *Probe) error {
	var ignored error
	if c.present == isPresent && c.result["get"] && c.result["put"] {
		if err := c.store.Delete(ctx, c.cfg.Bucket, c.object.Key, IfMatch(wrongETag)); err == nil {
			ignored = c.ignoring([]string{"If-Match"}, "delete")
		}
	}
	if c.present != isPresent {
		p.Note = "allowed, but there was nothing to delete"
	}
	if err := c.remove(ctx, nil); err != nil {
		return err
	}
	c.result["delete"] = true
	if c.present == isPresent {
		c.present = isAbsent
	}
	return ignored
}

// nothingAllowed makes one finding of four: a bucket in which nothing at all
// is allowed is rather the wrong bucket than four missing statements.
func (c *checker) nothingAllowed() {
	denied := 0
	bucket := -1
	for i, p := range c.report.Probes {
		switch {
		case p.Name == ProbeBucket:
			bucket = i
		case p.Result == Failed && p.Cause != nil && (p.Cause.ID == CauseDeniedList || p.Cause.ID == CauseDeniedPut || p.Cause.ID == CauseDeniedDelete):
			denied++
		}
	}
	if denied < 3 || bucket < 0 || c.report.Probes[bucket].Result != OK {
		return
	}
	p := &c.report.Probes[bucket]
	p.Result = Warning
	cause := CauseOf(&found{cause: CauseNothingAllowed, err: &Error{Op: "list", Bucket: c.cfg.Bucket, Err: ErrDenied}}, c.store.access)
	p.Cause = &cause
}
