package destination

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseTemplate(t *testing.T) {
	tests := []struct {
		name  string
		place Place
		text  string
		want  string // Template.String
	}{
		{"root", Folder, "/", "/"},
		{"many slashes are the root", Folder, "///", "/"},
		{"slashes around are trimmed", Folder, "/a/b/", "a/b"},
		{"slashes around variables are trimmed", Folder, "//{{account}}/{{DD}}//", "{{account}}/{{DD}}"},
		{"no white space", FileName, "{{filename}}", "{{filename}}"},
		{"much white space", FileName, "{{ \t filename\n }}", "{{filename}}"},
		{"no separator", FileName, "{{filename}}{{YYYY}}{{MM}}{{DD}}", "{{filename}}{{YYYY}}{{MM}}{{DD}}"},
		{"any separator", FileName, "{{filename}}--{{YYYY}} ü {{MM}}=", "{{filename}}--{{YYYY}} ü {{MM}}="},
		{"hive", Folder, "account={{account}}/day={{YYYY}}-{{MM}}-{{DD}}", "account={{account}}/day={{YYYY}}-{{MM}}-{{DD}}"},
		{"minute is not month", FileName, "{{MM}}{{M}}", "{{MM}}{{M}}"},
		{"literal only", FileName, "report", "report"},
		{"single braces", FileName, "a{b}c", "a{b}c"},
		{"dots inside a name", Folder, "a..b/...", "a..b/..."},
		{"today keeps its names", FileName, "{{YYYY}}-{{MM}}-{{DD_today}}", "{{YYYY}}-{{MM}}-{{DD_today}}"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseTemplate(tt.place, tt.text)
			if err != nil {
				t.Fatalf("ParseTemplate(%s, %q): %v", tt.place, tt.text, err)
			}
			if got.String() != tt.want {
				t.Errorf("ParseTemplate(%s, %q) = %s, want %s", tt.place, tt.text, got, tt.want)
			}
			again, err := ParseTemplate(tt.place, got.String())
			if err != nil || again.String() != got.String() {
				t.Errorf("ParseTemplate(%s, %q) does not read its own String: %v, %v", tt.place, tt.text, again, err)
			}
		})
	}
}

func TestParseTemplateRefuses(t *testing.T) {
	tests := []struct {
		name  string
		place Place
		text  string
		want  []Problem // Field is the place
	}{
		{"empty folder", Folder, "", []Problem{{Message: "is empty", Remedy: `write "/" for the root of the bucket`}}},
		{"empty name", FileName, "", []Problem{{Message: "is empty", Remedy: "write a name, as in {{filename}}-{{YYYY}}-{{MM}}-{{DD}}"}}},
		{"no name in the braces", FileName, "a{{ }}", []Problem{{Message: "at character 2: the braces hold no name", Remedy: "write a variable's name between them, as in {{filename}}"}}},
		{"unclosed", FileName, "ä{{filename", []Problem{{Message: `at character 2: "{{" is not closed`, Remedy: `write "}}" after the variable's name`}}},
		{"half closed", FileName, "{{filename}", []Problem{{Message: `at character 1: "{{" is not closed`, Remedy: `write "}}" after the variable's name`}}},
		{"closed by the next", FileName, "{{filename-{{DD}}", []Problem{{Message: `at character 1: "{{" is not closed`, Remedy: `write "}}" after the variable's name`}}},
		{"closes nothing", FileName, "filename}}", []Problem{{Message: `at character 9: "}}" closes nothing`, Remedy: `write "{{" before the variable's name, or leave the "}}" out`}}},
		{"wrong case", FileName, "{{yyyy}}", []Problem{{Message: `at character 1: no variable is called "yyyy"`, Remedy: "did you mean {{YYYY}}?"}}},
		{"typing mistake", FileName, "{{acount}}", []Problem{{Message: `at character 1: no variable is called "acount"`, Remedy: "did you mean {{account}}?"}}},
		{"dash for underscore", Folder, "{{ data-source }}", []Problem{{Message: `at character 1: no variable is called "data-source"`, Remedy: "did you mean {{data_source}}?"}}},
		{"three braces", FileName, "{{{account}}}", []Problem{
			{Message: `at character 1: no variable is called "{account"`, Remedy: "did you mean {{account}}?"},
			{Message: `at character 13: "}" closes nothing`, Remedy: `write "{{" before and "}}" behind a variable's name, or leave it out`},
		}},
		{"nothing near", FileName, "{{campaign_id}}", []Problem{{Message: `at character 1: no variable is called "campaign_id"`,
			Remedy: "write one of {{filename}}, {{account}}, {{YYYY}}, {{MM}}, {{DD}}, {{DD_today}}, {{H}}, {{M}}, {{S}}, {{timestamp}}"}}},
		{"a brace that is not closed", FileName, "{YYYY-{{filename}}", []Problem{{Message: `at character 1: "{" is not closed`, Remedy: `write "{{" before and "}}" behind a variable's name, or leave it out`}}},
		{"a brace that closes nothing", FileName, "{{filename}}}", []Problem{{Message: `at character 13: "}" closes nothing`, Remedy: `write "{{" before and "}}" behind a variable's name, or leave it out`}}},
		{"single braces", FileName, "{account}", []Problem{{Message: "at character 1: {account} is not a variable but literal text", Remedy: "write {{account}}"}}},
		{"slash in a name", FileName, "a/b", []Problem{{Message: "at character 2: a file name has no levels", Remedy: `move what stands before the "/" to folder`}}},
		{"empty level", Folder, "a//b", []Problem{{Message: "level 2 is empty: two slashes stand side by side", Remedy: `write one "/" between two levels`}}},
		{"dot", Folder, "./a", []Problem{{Message: `level 1 is ".", which readers take for another folder`, Remedy: "leave it out or name it"}}},
		{"dots", Folder, "{{account}}/..", []Problem{{Message: `level 2 is "..", which readers take for another folder`, Remedy: "leave it out or name it"}}},
		{"dots as a name", FileName, "..", []Problem{{Message: `level 1 is "..", which readers take for another folder`, Remedy: "leave it out or name it"}}},
		{"blank name", FileName, " ", []Problem{{Message: "level 1 begins or ends with a space", Remedy: "leave the space out"}}},
		{"space at an end", Folder, "a /b", []Problem{{Message: "level 1 begins or ends with a space", Remedy: "leave the space out"}}},
		{"control character", Folder, "a\nb", []Problem{{Message: "at character 2: the character U+000A cannot stand in a key", Remedy: "leave it out"}}},
		{"override", Folder, "a\u202Eb", []Problem{{Message: "at character 2: the character U+202E cannot stand in a key", Remedy: "leave it out"}}},
		{"not UTF-8", Folder, "a\xFF", []Problem{{Message: "is not UTF-8 text"}}},
		{"all at once", FileName, "{{x}}/{{}}", []Problem{
			{Message: `at character 1: no variable is called "x"`, Remedy: "write one of {{filename}}, {{account}}, {{YYYY}}, {{MM}}, {{DD}}, {{DD_today}}, {{H}}, {{M}}, {{S}}, {{timestamp}}"},
			{Message: "at character 6: a file name has no levels", Remedy: `move what stands before the "/" to folder`},
			{Message: "at character 7: the braces hold no name", Remedy: "write a variable's name between them, as in {{filename}}"},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseTemplate(tt.place, tt.text)
			var got *Problems
			if !errors.As(err, &got) {
				t.Fatalf("ParseTemplate(%s, %q) = %v, want *Problems", tt.place, tt.text, err)
			}
			for i := range tt.want {
				tt.want[i].Field = string(tt.place)
			}
			if diff := cmp.Diff(tt.want, []Problem(*got)); diff != "" {
				t.Errorf("ParseTemplate(%s, %q) (-want +got):\n%s", tt.place, tt.text, diff)
			}
		})
	}
}

// Each variable may stand where SPEC 4 says and nowhere else.
func TestVariablePlaces(t *testing.T) {
	folderOnly := map[string]bool{"workspace_id": true, "workspace_title": true, "data_source": true, "data_table_title": true, "report_type": true}
	both := []string{"filename", "account", "YYYY", "MM", "DD", "DD_today", "H", "M", "S", "timestamp"}
	if got, want := len(Variables()), len(folderOnly)+len(both); got != want {
		t.Errorf("%d variables, want %d", got, want)
	}
	for _, v := range Variables() {
		if _, err := ParseTemplate(Folder, "{{"+v.Name+"}}"); err != nil {
			t.Errorf("folder {{%s}}: %v", v.Name, err)
		}
		_, err := ParseTemplate(FileName, "{{"+v.Name+"}}")
		if folderOnly[v.Name] != (err != nil) {
			t.Errorf("file_name {{%s}}: error %v, want one: %v", v.Name, err, folderOnly[v.Name])
		}
		if err != nil && !strings.Contains(err.Error(), "it may stand in folder only") {
			t.Errorf("file_name {{%s}}: %v names no remedy", v.Name, err)
		}
	}
}

func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"/", "{{ filename }}-{{YYYY}}", "{{", "}}", "{{{a}}}", "a//b", "/{{account}}/", "{filename}", "{{DD_today}}{{MM}}", "\xFF", "..", "a /"} {
		f.Add(s, "x")
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		for _, place := range []Place{Folder, FileName} {
			parsed, err := ParseTemplate(place, text)
			if err != nil {
				var p *Problems
				if !errors.As(err, &p) || len(*p) == 0 {
					t.Fatalf("ParseTemplate(%s, %q): %v is not *Problems", place, text, err)
				}
				continue
			}
			again, err := ParseTemplate(place, parsed.String())
			if err != nil {
				t.Fatalf("ParseTemplate(%s, %q) does not read its own String %q: %v", place, text, parsed, err)
			}
			if diff := cmp.Diff(parsed.pieces, again.pieces, cmp.AllowUnexported(piece{})); diff != "" {
				t.Fatalf("ParseTemplate(%s, %q) and its String differ:\n%s", place, text, diff)
			}
			s := Settings{Folder: "f", FileName: "n", FileFormat: "csv", LoadByAccount: true}
			if place == Folder {
				s.Folder = text
			} else {
				s.FileName = text
			}
			n, err := s.Naming()
			if err != nil {
				t.Fatalf("Naming of %q: %v", text, err)
			}
			key, err := n.Key(sameNames(value), 19894, value)
			if err != nil {
				continue
			}
			checkKey(t, n, key)
			if levels := strings.Count(parsed.String(), "/"); place == Folder && parsed.String() != "/" && strings.Count(key, "/") != levels+1 {
				t.Fatalf("folder %q with value %q gives %q: not %d levels", text, value, key, levels+1)
			}
		}
	})
}
