package encoding

import (
	"encoding/binary"
	"errors"
	"hash/maphash"
	"math"
	"math/bits"
	"slices"
)

// parquetPages turns a gathered column into pages and keeps the memory that
// this takes.
type parquetPages struct {
	remap   parquetRemap
	numbers parquetNumbers
	codecs  parquetCodecs
	header  thriftBuffer
	body    []byte
	low     []byte // bounds of the chunk, PLAIN
	high    []byte
}

// parquetChunk is what the footer says about a column's part of a group.
type parquetChunk struct {
	dictionary int64 // the dictionary page's place in the file, 0 when there is none
	data       int64 // the first data page's
	pages      int   // data pages
	unpacked   int64 // bytes with headers
	packed     int64
	bounded    bool
	low, high  []byte // bounds when bounded, valid until the next chunk
}

// parquetFlush is how many bytes of pages are written at once.
const parquetFlush = 256 << 10

func (p *parquetPages) init() {
	p.remap.seed = maphash.MakeSeed()
	p.numbers.seed = maphash.Bytes(p.remap.seed, nil)
}

// chunk appends the column's pages to the file.
func (p *parquetPages) chunk(f *parquetFile, c *parquetColumn) (parquetChunk, error) {
	var chunk parquetChunk
	var codes []uint32
	dict := p.body[:0]
	entries := 0
	if c.present() > 0 {
		switch c.physical {
		case parquetBoolean:
		case parquetByteArray:
			c.text.settle()
			codes, entries = c.text.codes, len(c.text.entries)
			dict = append(dict, c.text.dict...)
		default:
			if distinct, ok := p.numbers.dictionary(c, &f.limits); ok {
				codes, entries = p.numbers.codes, len(distinct)
				dict = appendParquetNumbers(dict, c, distinct, nil)
			}
		}
		chunk.bounded = p.bounds(c, &f.limits)
		chunk.low, chunk.high = p.low, p.high
	}
	p.body = dict
	encoding := parquetPlain
	if len(codes) > 0 {
		encoding = parquetRLEDictionary
		chunk.dictionary = f.position()
		if err := p.page(f, &chunk, parquetDictionaryPage, entries, parquetPlain); err != nil {
			return chunk, err
		}
	}
	chunk.data = f.position()
	width := max(bits.Len(uint(max(entries, 1)-1)), 1)
	for row, value, at := 0, 0, 0; row < c.rows; {
		rows, values, end := c.cut(&f.limits, row, at)
		b := c.appendLevels(p.body[:0], row, rows, values)
		switch {
		case len(codes) > 0:
			b = appendParquetCodes(append(b, byte(width)), codes[value:value+values], width)
		case c.physical == parquetByteArray:
			b = append(b, c.text.plain[at:end]...)
		case c.physical == parquetBoolean:
			b = appendParquetBits(b, 8*len(b), c.bools, value, values)
		case c.physical == parquetFixed:
			b = appendParquetNumbers(b, c, c.values[value:value+values], c.high[value:value+values])
		default:
			b = appendParquetNumbers(b, c, c.values[value:value+values], nil)
		}
		p.body = b
		if err := p.page(f, &chunk, parquetDataPage, rows, encoding); err != nil {
			return chunk, err
		}
		chunk.pages++
		row, value, at = row+rows, value+values, end
	}
	return chunk, nil
}

// cut finds the page that begins at a row: its rows, how many of them are not
// null and, for a column of plain texts whose page begins at byte `at`, where
// its texts end.
func (c *parquetColumn) cut(limits *parquetLimits, row, at int) (rows, values, end int) {
	rows = min(c.rows-row, limits.pageRows)
	if c.physical == parquetByteArray && c.text.gaveUp {
		plain := c.text.plain
		last := row + rows
		for end = at; row < last && end-at < limits.pageBytes; row++ {
			if c.nulls == 0 || bit(c.valid, row) {
				end += 4 + int(binary.LittleEndian.Uint32(plain[end:]))
				values++
			}
		}
		return rows - (last - row), values, end
	}
	if c.nulls == 0 {
		return rows, rows, 0
	}
	return rows, countParquetBits(c.valid, row, rows), 0
}

var errParquetPage = errors.New("a value is too long for a page")

// page packs the body and appends it to the file behind its header.
func (p *parquetPages) page(f *parquetFile, chunk *parquetChunk, kind parquetPageKind, values int, encoding parquetEncoding) error {
	if len(p.body) > math.MaxInt32 {
		return errParquetPage
	}
	packed, err := p.codecs.pack(f.codec, p.body)
	if err != nil {
		return err
	}
	if len(packed) > math.MaxInt32 {
		return errParquetPage
	}
	h := &p.header
	h.reset()
	h.i32(1, int32(kind))
	h.i32(2, int32(len(p.body)))
	h.i32(3, int32(len(packed)))
	if kind == parquetDictionaryPage {
		h.open(7)
		h.i32(1, int32(values))
		h.i32(2, int32(encoding))
	} else {
		h.open(5)
		h.i32(1, int32(values))
		h.i32(2, int32(encoding))
		h.i32(3, int32(parquetRLE)) // definition levels
		h.i32(4, int32(parquetRLE)) // repetition levels, of which there are none
	}
	h.close()
	h.stop()
	chunk.unpacked += int64(len(h.b) + len(p.body))
	chunk.packed += int64(len(h.b) + len(packed))
	f.out = append(append(f.out, h.b...), packed...)
	if len(f.out) >= parquetFlush {
		return f.flush()
	}
	return nil
}

// bounds sets low and high to the least and greatest of the column's values,
// unless those would mislead (not a number) or be too long.
func (p *parquetPages) bounds(c *parquetColumn, limits *parquetLimits) bool {
	low, high := p.low[:0], p.high[:0]
	switch {
	case c.physical == parquetByteArray:
		a, z := c.text.bounds()
		if len(a) > limits.boundBytes || len(z) > limits.boundBytes {
			return false
		}
		low, high = append(low, a...), append(high, z...)
	case c.physical == parquetBoolean:
		ones := countParquetBits(c.bools, 0, c.present())
		low, high = append(low, truth(ones == c.present())), append(high, truth(ones > 0))
	case c.physical == parquetDouble:
		a, z := math.Inf(1), math.Inf(-1)
		for _, v := range c.values {
			v := math.Float64frombits(uint64(v))
			a, z = min(a, v), max(z, v) // NaN in, NaN out
		}
		if a != a {
			return false
		}
		if a == 0 { // readers do not agree on the order of the zeros
			a = math.Copysign(0, -1)
		}
		if z == 0 {
			z = math.Copysign(0, 1)
		}
		low = binary.LittleEndian.AppendUint64(low, math.Float64bits(a))
		high = binary.LittleEndian.AppendUint64(high, math.Float64bits(z))
	case c.physical == parquetFixed:
		a, z := 0, 0
		for i := range c.values {
			if c.less(i, a) {
				a = i
			} else if c.less(z, i) {
				z = i
			}
		}
		low = appendParquetNumbers(low, c, c.values[a:a+1], c.high[a:a+1])
		high = appendParquetNumbers(high, c, c.values[z:z+1], c.high[z:z+1])
	default:
		a, z := parquetRange(c.values)
		low = appendParquetNumbers(low, c, []int64{a}, nil)
		high = appendParquetNumbers(high, c, []int64{z}, nil)
	}
	p.low, p.high = low, high
	return true
}

func truth(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// less compares two decimals of 128 bits.
func (c *parquetColumn) less(i, j int) bool {
	if c.high[i] != c.high[j] {
		return c.high[i] < c.high[j]
	}
	return uint64(c.values[i]) < uint64(c.values[j])
}

func parquetRange(values []int64) (low, high int64) {
	low, high = values[0], values[0]
	for _, v := range values {
		low, high = min(low, v), max(high, v)
	}
	return low, high
}

// appendLevels appends the definition levels of some rows, of which `values`
// are not null: their length, then one run.
func (c *parquetColumn) appendLevels(b []byte, row, rows, values int) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0)
	switch values {
	case rows, 0:
		b = binary.AppendUvarint(b, uint64(rows)<<1)
		b = append(b, truth(values > 0))
	default:
		b = binary.AppendUvarint(b, uint64(bitmapBytes(rows))<<1|1)
		b = appendParquetBits(b, 8*len(b), c.valid, row, rows)
	}
	binary.LittleEndian.PutUint32(b[start:], uint32(len(b)-start-4))
	return b
}

// appendParquetNumbers appends numbers in the PLAIN encoding. Of decimals in
// parquetFixed, high holds the high halves; nil means that they only carry the
// low halves' signs.
func appendParquetNumbers(b []byte, c *parquetColumn, values, high []int64) []byte {
	n := len(b)
	b = slices.Grow(b, c.width*len(values))[:n+c.width*len(values)]
	at := b[n:]
	switch {
	case c.physical == parquetFixed:
		var number [16]byte
		for i, v := range values {
			h := v >> 63
			if high != nil {
				h = high[i]
			}
			binary.BigEndian.PutUint64(number[:], uint64(h))
			binary.BigEndian.PutUint64(number[8:], uint64(v))
			copy(at, number[16-c.width:])
			at = at[c.width:]
		}
	case c.width == 4:
		for _, v := range values {
			binary.LittleEndian.PutUint32(at, uint32(v))
			at = at[4:]
		}
	default:
		for _, v := range values {
			binary.LittleEndian.PutUint64(at, uint64(v))
			at = at[8:]
		}
	}
	return b
}

func (p *parquetPages) retained() int {
	return 8*cap(p.remap.entries) + cap(p.body) + p.numbers.retained() + p.codecs.retained()
}
