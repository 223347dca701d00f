package messages

import "slices"

// ManifestForm is what a manifest looks like. A destination's setting.
type ManifestForm string

// The forms.
const (
	ManifestJSON     ManifestForm = "json"     // every object, with all that is known of it
	ManifestRedshift ManifestForm = "redshift" // what COPY ... MANIFEST reads
	ManifestAthena   ManifestForm = "athena"   // one URL a line, for SymlinkTextInputFormat
	ManifestSuccess  ManifestForm = "success"  // an empty _SUCCESS, there when every load ended well
)

// ManifestForms lists every form once.
func ManifestForms() []ManifestForm {
	return []ManifestForm{ManifestJSON, ManifestRedshift, ManifestAthena, ManifestSuccess}
}

// FormatManifest is the format in the outcome of a load that wrote a manifest.
const FormatManifest = "manifest"

// FormatSidecar is the format in the outcome of a load that wrote a description
// of its table.
const FormatSidecar = "schema"

// Companion reports whether an outcome's format is of an object that holds no
// rows: a manifest or a sidecar.
func Companion(format string) bool { return format == FormatManifest || format == FormatSidecar }

// Manifest makes a load one that writes a manifest: it waits for the other
// loads of its extraction and carries no rows.
type Manifest struct {
	Form  ManifestForm `json:"form"`
	Loads int64        `json:"loads"` // how many others must have ended
}

func (m *Manifest) check(flaw func(field, format string, args ...any)) {
	if !slices.Contains(ManifestForms(), m.Form) {
		flaw("manifest.form", "unknown form %q", clip(string(m.Form), 80))
	}
	if m.Loads < 0 {
		flaw("manifest.loads", "%d is below zero", m.Loads)
	}
}

// Format is what the load's object is: a file format, or [FormatManifest].
func (l *Load) Format() string {
	switch {
	case l.Manifest != nil:
		return FormatManifest
	case l.Sidecar != "":
		return FormatSidecar
	}
	return string(l.File.Format)
}

// ContentType is the media type of the load's object.
func (l *Load) ContentType() string {
	switch {
	case l.Manifest != nil:
		return l.Manifest.Form.ContentType()
	case l.Sidecar != "":
		return l.Sidecar
	}
	return l.File.Format.ContentType()
}

// ContentType is the media type of a manifest.
func (f ManifestForm) ContentType() string {
	switch f {
	case ManifestJSON, ManifestRedshift:
		return "application/json"
	case ManifestAthena:
		return "text/plain; charset=utf-8"
	}
	return "application/octet-stream"
}
