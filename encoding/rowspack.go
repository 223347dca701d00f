package encoding

import (
	"fmt"

	"github.com/klauspost/compress/s2"
)

// PackedS2 names the packing of [RowsPacker], beside rows on the queue.
const PackedS2 = "s2"

// maxUnpacked bounds rows that travel in one message, in bytes as MarshalRows
// writes them: what one message may make a reader reserve.
const maxUnpacked = 64 << 20

// keptUnpacked is the most that an unpacker keeps for the next rows, in bytes.
const keptUnpacked = 4 << 20

// RowsPacker packs rows for the queue: MarshalRows' stream as one block of S2
// (https://github.com/klauspost/compress/tree/master/s2), which takes a third of
// its room. A queue writes a message to disk, syncs it and moves it through two
// connections: that costs more than the packing. The zero value is ready. It is
// not safe for concurrent use.
type RowsPacker struct {
	stream, block []byte
}

// Pack packs rows and says how long they are unpacked. The result is valid until
// the next call. Rows of more than 64 MiB are refused.
func (p *RowsPacker) Pack(rows *Rows) (packed []byte, unpacked int, err error) {
	if p.stream, err = appendRows(p.stream[:0], rows); err != nil {
		return nil, 0, err
	}
	if len(p.stream) > maxUnpacked {
		return nil, 0, fmt.Errorf("pack rows: %d rows take %d bytes, and one message at most %d", rows.n, len(p.stream), maxUnpacked)
	}
	p.block = s2.Encode(p.block[:cap(p.block)], p.stream)
	return p.block, len(p.stream), nil
}

// RowsUnpacker unpacks what a RowsPacker packed. The zero value is ready. It is
// not safe for concurrent use.
type RowsUnpacker struct {
	stream []byte
	schema knownSchema
}

// Unpack reads packed rows; any bytes else give an error, under the conditions of
// [UnmarshalRows], and no more than 64 MiB are taken for them. The rows lie in
// the unpacker's memory: they are void at the next call.
func (u *RowsUnpacker) Unpack(b []byte) (*Rows, error) {
	n, err := s2.DecodedLen(b)
	if err != nil {
		return nil, fmt.Errorf("unpack rows: %w", err)
	}
	if n > maxUnpacked {
		return nil, fmt.Errorf("unpack rows: %d bytes, and one message has at most %d", n, maxUnpacked)
	}
	stream := u.stream
	if cap(stream) < n {
		stream = make([]byte, n+n/4)
	}
	if cap(stream) <= keptUnpacked {
		u.stream = stream
	}
	if stream, err = s2.Decode(stream[:cap(stream)], b); err != nil {
		return nil, fmt.Errorf("unpack rows: %w", err)
	}
	return unmarshalKnown(stream, &u.schema)
}
