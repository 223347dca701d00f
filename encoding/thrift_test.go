package encoding

import (
	"fmt"
	"testing"
)

// TestThriftBuffer holds the bytes against the compact protocol's description;
// that readers take them is tested with every Parquet file.
func TestThriftBuffer(t *testing.T) {
	tests := []struct {
		name  string
		write func(*thriftBuffer)
		want  string
	}{
		{"small field steps", func(b *thriftBuffer) { b.i32(1, 1); b.i32(16, -1) }, "1502f501"},
		{"a large field step", func(b *thriftBuffer) { b.i64(17, 64) }, "0622" + "8001"},
		{"truth in the header", func(b *thriftBuffer) { b.boolean(1, true); b.boolean(2, false) }, "1112"},
		{"bytes", func(b *thriftBuffer) { b.binary(3, []byte{0xff}); b.text(4, "ab") }, "3801ff18026162"},
		{"a short list", func(b *thriftBuffer) { b.list(1, thriftI32, 2); b.number(0); b.number(8) }, "19250010"},
		{"a long list", func(b *thriftBuffer) { b.list(1, thriftStruct, 15) }, "19fc0f"},
		{"fields after a struct", func(b *thriftBuffer) { b.open(5); b.i32(9, 0); b.close(); b.i32(6, 0) }, "5c9500001500"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b thriftBuffer
			b.i32(3, 3)
			b.reset()
			tt.write(&b)
			b.stop()
			if got := fmt.Sprintf("%x", b.b); got != tt.want+"00" {
				t.Errorf("got %s, want %s", got, tt.want+"00")
			}
		})
	}
}
