package destination

import (
	"fmt"
	"strings"
)

// TableFolder is the folder that all files of a table have in common, "" or
// ending in a slash, and the pattern of their keys, with "*" for dates, accounts
// and times. A workspace's tables of one name may share it when the templates name
// no more.
func (n *Naming) TableFolder(names Names) (folder, glob string, err error) {
	var key []byte
	varies := false
	for i := range n.pieces {
		p := &n.pieces[i]
		text := ""
		switch p.value {
		case literal:
			if varies {
				key = append(key, p.text...)
				continue
			}
			key = append(key, p.text...)
			if at := strings.LastIndexByte(string(key), '/'); at >= 0 {
				folder = string(key[:at+1])
			}
			continue
		case workspaceID:
			text = names.WorkspaceID
		case workspaceTitle:
			text = names.WorkspaceTitle
		case dataSource:
			text = names.DataSource
		case dataTableTitle:
			text = names.DataTableTitle
		case reportType:
			text = names.ReportType
		case filename:
			text = names.Filename
		default:
			varies = true
			if len(key) == 0 || key[len(key)-1] != '*' {
				key = append(key, '*')
			}
			continue
		}
		if text == "" {
			return "", "", emptyName(key, p.value)
		}
		key = appendEscaped(key, text)
	}
	return folder, string(key), nil
}

// SidecarKey is where a file that describes a table goes: in a folder beside its
// files that Athena, Spark and Hive skip. Its name should not end like a data file,
// so that no pattern such as **/*.json takes it for one.
// The error is a [*KeyError].
func (n *Naming) SidecarKey(names Names, file string) (string, error) {
	folder, _, err := n.TableFolder(names)
	if err != nil {
		return "", err
	}
	key := string(appendEscaped([]byte(folder+"_schema/"), names.Filename)) + "." + file
	if len(key) > MaxKey {
		return "", &KeyError{Key: key, Reason: fmt.Sprintf("it is %d bytes long, and S3 takes no more than %d", len(key), MaxKey)}
	}
	return key, nil
}
