package encoding

import "encoding/binary"

// parquetMagic begins and ends a file.
const parquetMagic = "PAR1"

// parquetCreator names the writer, in the form that readers parse. Its version
// is that of the bytes: it changes when the same rows give another file.
const parquetCreator = "loadfleet version 1.0.0"

type parquetPageKind int32

const (
	parquetDataPage       parquetPageKind = 0
	parquetDictionaryPage parquetPageKind = 2
)

type parquetEncoding int32

const (
	parquetPlain         parquetEncoding = 0
	parquetRLE           parquetEncoding = 3
	parquetRLEDictionary parquetEncoding = 8
)

// The older annotation of a column's type; the newer, a LogicalType, stands
// beside it.
const (
	parquetUTF8            = 0
	parquetDecimal         = 5
	parquetDate            = 6
	parquetTimestampMicros = 10
)

// appendParquetSchema appends the SchemaElement structs: the root and a leaf
// per column.
func appendParquetSchema(b []byte, columns []parquetColumn) []byte {
	t := thriftBuffer{b: b}
	t.push()
	t.text(4, "schema")
	t.i32(5, int32(len(columns)))
	t.close()
	for i := range columns {
		c := &columns[i]
		t.push()
		t.i32(1, int32(c.physical))
		if c.physical == parquetFixed {
			t.i32(2, int32(c.width))
		}
		t.i32(3, 1) // optional
		t.text(4, c.name)
		switch c.typ.Kind {
		case String, JSONText:
			// JSON has an annotation of its own, which makes Polars and Arrow
			// take the column for binary data.
			t.i32(6, parquetUTF8)
			t.open(10)
			t.open(1)
			t.close()
			t.close()
		case Decimal:
			t.i32(6, parquetDecimal)
			t.i32(7, c.typ.Scale)
			t.i32(8, c.typ.Precision)
			t.open(10)
			t.open(5)
			t.i32(1, c.typ.Scale)
			t.i32(2, c.typ.Precision)
			t.close()
			t.close()
		case Date:
			t.i32(6, parquetDate)
			t.open(10)
			t.open(6)
			t.close()
			t.close()
		case Timestamp:
			t.i32(6, parquetTimestampMicros)
			t.open(10)
			t.open(8)
			t.boolean(1, true) // an instant in UTC
			t.open(2)
			t.open(2) // of microseconds
			t.close()
			t.close()
			t.close()
			t.close()
		}
		t.close()
	}
	return t.b
}

// appendParquetChunk appends the ColumnChunk struct of a group's column.
func appendParquetChunk(t *thriftBuffer, c *parquetColumn, codec parquetCodec, chunk *parquetChunk) {
	start, encoding := chunk.data, parquetPlain
	if chunk.dictionary > 0 {
		start, encoding = chunk.dictionary, parquetRLEDictionary
	}
	t.push()
	t.i64(2, start)
	t.open(3)
	t.i32(1, int32(c.physical))
	if chunk.dictionary > 0 {
		t.list(2, thriftI32, 3)
		t.number(int32(parquetPlain))
		t.number(int32(parquetRLE))
		t.number(int32(parquetRLEDictionary))
	} else {
		t.list(2, thriftI32, 2)
		t.number(int32(parquetPlain))
		t.number(int32(parquetRLE))
	}
	t.list(3, thriftBinary, 1)
	t.element(c.name)
	t.i32(4, int32(codec))
	t.i64(5, int64(c.rows))
	t.i64(6, chunk.unpacked)
	t.i64(7, chunk.packed)
	t.i64(9, chunk.data)
	if chunk.dictionary > 0 {
		t.i64(11, chunk.dictionary)
	}
	t.open(12)
	t.i64(3, int64(c.nulls))
	if chunk.bounded {
		t.binary(5, chunk.high)
		t.binary(6, chunk.low)
	}
	t.close()
	// Which pages have which encoding: what lets readers search a dictionary
	// before they read the column.
	if chunk.dictionary > 0 {
		t.list(13, thriftStruct, 2)
		appendParquetPageCount(t, parquetDictionaryPage, parquetPlain, 1)
	} else {
		t.list(13, thriftStruct, 1)
	}
	appendParquetPageCount(t, parquetDataPage, encoding, chunk.pages)
	t.close()
	t.close()
}

func appendParquetPageCount(t *thriftBuffer, kind parquetPageKind, encoding parquetEncoding, n int) {
	t.push()
	t.i32(1, int32(kind))
	t.i32(2, int32(encoding))
	t.i32(3, int32(n))
	t.close()
}

// appendFooter appends the FileMetaData struct, its length and the magic.
func (f *parquetFile) appendFooter() {
	t := &f.footer
	t.reset()
	t.i32(1, 1)
	t.list(2, thriftStruct, len(f.columns)+1)
	t.b = append(t.b, f.elements...)
	t.i64(3, f.total)
	t.list(4, thriftStruct, f.groupSize)
	t.b = append(t.b, f.groups.b...)
	t.text(6, parquetCreator)
	t.list(7, thriftStruct, len(f.columns))
	for range f.columns { // min and max follow the order that the type defines
		t.push()
		t.open(1)
		t.close()
		t.close()
	}
	t.stop()
	f.out = append(f.out, t.b...)
	f.out = binary.LittleEndian.AppendUint32(f.out, uint32(len(t.b)))
	f.out = append(f.out, parquetMagic...)
}
