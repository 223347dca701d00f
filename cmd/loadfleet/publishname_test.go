package main

import (
	"strings"
	"testing"
	"time"

	"github.com/loadfleet/loadfleet/messages"
)

// TestPublishNames: the id that publish makes is one, and no command takes it for a flag.
func TestPublishNames(t *testing.T) {
	const at = "20240620T121517-000001"
	now := time.Date(2024, 6, 20, 12, 15, 17, 1000, time.UTC)
	for _, tt := range []struct{ name, table, want string }{
		{"plain", "ads_daily", "ads_daily-" + at},
		{"other letters within", "ads.größe", "ads-gr--e-" + at},
		{"other letters first", "Продажи_eu", "_eu-" + at},
		{"other letters alone", "Продажи", "table-" + at},
		{"a dash first", "-ads", "ads-" + at},
		{"too long", strings.Repeat("a", 80), strings.Repeat("a", messages.MaxID-len(at)-1) + "-" + at},
		{"too long, a dash where it is cut", "a" + strings.Repeat("é", 80) + "b", "b-" + at},
		{"none", "", "table-" + at},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pub := publication{commit: messages.Commit{Filename: tt.table}}
			pub.name(now)
			if got := pub.commit.Extraction; got != tt.want || !messages.ValidID(got) {
				t.Errorf("table %q: id %q (valid: %t), want %q", tt.table, got, messages.ValidID(got), tt.want)
			}
		})
	}
}
