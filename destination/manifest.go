package destination

import (
	"fmt"
	"slices"
)

// ManifestForm is what a manifest looks like; see the package messages, which
// has the same values.
type ManifestForm string

// The forms of manifests.
const (
	ManifestJSON     ManifestForm = "json"
	ManifestRedshift ManifestForm = "redshift"
	ManifestAthena   ManifestForm = "athena"
	ManifestSuccess  ManifestForm = "success"
)

// ManifestForms lists every form, the default first.
func ManifestForms() []ManifestForm {
	return []ManifestForm{ManifestJSON, ManifestRedshift, ManifestAthena, ManifestSuccess}
}

// file is the manifest's name in the folder of its extraction. None looks like
// a data file, so that a pattern such as **/*.json passes them over.
func (f ManifestForm) file() string {
	switch f {
	case ManifestRedshift:
		return "redshift.manifest"
	case ManifestAthena:
		return "athena/symlink.manifest" // alone in its folder, which is a table's location
	case ManifestSuccess:
		return "_SUCCESS"
	}
	return "objects.manifest"
}

// ManifestKey is where an extraction's manifest goes: behind the constant part of
// the destination's folder, in a folder that Athena, Spark and Hive skip when they
// read the files around it. The error is a [*KeyError].
func (n *Naming) ManifestKey(names Names, extraction string, f ManifestForm) (string, error) {
	key := append([]byte(n.folder), "_manifests/"...)
	for _, name := range []string{names.WorkspaceID, names.Filename, extraction} {
		key = append(appendEscaped(key, name), '/')
	}
	key = append(key, f.file()...)
	if len(key) > MaxKey {
		return "", &KeyError{Key: string(key), Reason: fmt.Sprintf("it is %d bytes long, and S3 takes no more than %d", len(key), MaxKey)}
	}
	return string(key), nil
}

// manifests judges the forms that are asked for.
func (c *checker) manifests() {
	if !c.ok("manifest", "manifest_forms") || !c.given["manifest_forms"] {
		return
	}
	if !c.s.Manifest {
		c.wrong("manifest_forms", "says what manifests look like, and there are none", "write manifest: on, or leave the field out")
		return
	}
	seen := map[string]bool{}
	for _, f := range c.s.ManifestForms {
		switch {
		case !slices.Contains(ManifestForms(), ManifestForm(f)):
			c.wrong("manifest_forms", shown(f)+" is not one of its values", oneOf(ManifestForms()))
		case seen[f]:
			c.wrong("manifest_forms", shown(f)+" stands twice", "leave one of them")
		}
		seen[f] = true
	}
	if len(seen) == 0 {
		c.wrong("manifest_forms", "is empty", "name one form or more, or write manifest: off")
	}
}
