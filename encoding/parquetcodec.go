package encoding

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// parquetCodec is how pages are compressed, as Parquet numbers it.
type parquetCodec int32

const (
	parquetUncompressed parquetCodec = 0
	parquetSnappy       parquetCodec = 1
	parquetGzip         parquetCodec = 2
	parquetZstd         parquetCodec = 6
)

func parseParquetCodec(name string) (parquetCodec, error) {
	switch name {
	case "", "snappy":
		return parquetSnappy, nil
	case "zstd":
		return parquetZstd, nil
	case "gzip":
		return parquetGzip, nil
	case "none":
		return parquetUncompressed, nil
	}
	return 0, fmt.Errorf("unknown parquet compression %q: use one of snappy, zstd, gzip, none", name)
}

// parquetCodecs compresses page after page in the same memory.
type parquetCodecs struct {
	packed []byte
	gzip   *gzip.Writer
	zstd   *zstd.Encoder
}

// pack compresses a page; the result is valid until the next page.
func (p *parquetCodecs) pack(codec parquetCodec, page []byte) ([]byte, error) {
	switch codec {
	case parquetSnappy:
		p.packed = slices.Grow(p.packed[:0], snappy.MaxEncodedLen(len(page)))
		return snappy.Encode(p.packed[:cap(p.packed)], page), nil
	case parquetZstd:
		if p.zstd == nil {
			encoder, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false))
			if err != nil {
				return nil, err
			}
			p.zstd = encoder
		}
		p.packed = p.zstd.EncodeAll(page, p.packed[:0])
		return p.packed, nil
	case parquetGzip:
		out := bytes.NewBuffer(p.packed[:0])
		if p.gzip == nil {
			p.gzip = gzip.NewWriter(out)
		} else {
			p.gzip.Reset(out)
		}
		if _, err := p.gzip.Write(page); err != nil {
			return nil, err
		}
		if err := p.gzip.Close(); err != nil {
			return nil, err
		}
		p.packed = out.Bytes()
		return p.packed, nil
	}
	return page, nil
}

func (p *parquetCodecs) retained() int {
	n := cap(p.packed)
	if p.zstd != nil {
		n += 8 << 20 // its window and tables at the default level
	}
	return n
}
