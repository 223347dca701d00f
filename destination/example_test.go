package destination_test

import (
	"fmt"
	"time"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/encoding"
)

func daysSince1970(year int, month time.Month, day int) int32 {
	return int32(time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix() / (24 * 60 * 60))
}

// A folder of today: {{YYYY}} and {{MM}} are today's because {{DD_today}} stands
// in the same template, and the file name's date is the partition's.
func ExampleNaming_Key() {
	s := destination.Settings{
		Folder:     "/{{workspace_id}}/{{workspace_title}}/{{data_source}}/{{report_type}}/{{YYYY}}/{{MM}}/{{DD_today}}",
		FileName:   "{{filename}}{{YYYY}}{{MM}}{{DD}}",
		FileFormat: encoding.CSVGzip,
	}
	n, err := s.Naming()
	if err != nil {
		fmt.Println(err)
		return
	}
	names := destination.Names{
		WorkspaceID: "ws1", WorkspaceTitle: "main_group", DataSource: "ds1", ReportType: "rt1", Filename: "some_name",
		Load: time.Date(2024, 6, 18, 12, 15, 17, 0, time.UTC),
	}
	key, err := n.Key(names, daysSince1970(2024, 6, 17), "")
	fmt.Println(key, err)
	// Output: ws1/main_group/ds1/rt1/2024/06/18/some_name20240617.csv.gz <nil>
}

// Any separator may stand between variables, and white space inside the braces is free.
func ExampleNaming_Key_timeOfTheLoad() {
	s := destination.Settings{
		Folder:     "/",
		FileName:   "{{ filename }}-{{ YYYY }}-{{ MM }}-{{ DD_today }}T{{ H }}{{ M }}{{ S }}",
		FileFormat: encoding.Parquet,
	}
	n, err := s.Naming()
	if err != nil {
		fmt.Println(err)
		return
	}
	names := destination.Names{Filename: "some_name", Load: time.Date(2024, 6, 20, 12, 15, 17, 0, time.UTC)}
	key, err := n.Key(names, 0, "")
	fmt.Println(key, err)
	// Output: some_name-2024-06-20T121517.parquet <nil>
}

// A value never adds a level and never leaves its folder.
func ExampleNaming_Key_hostileAccount() {
	s := destination.Settings{Folder: "account={{account}}", FileName: "{{account}}", FileFormat: encoding.CSV, LoadByAccount: true}
	n, err := s.Naming()
	if err != nil {
		fmt.Println(err)
		return
	}
	key, err := n.Key(destination.Names{}, 0, "../other/ws")
	fmt.Println(key, err)
	// Output: account=%2E.%2Fother%2Fws/%2E.%2Fother%2Fws.csv <nil>
}

func ExampleParseTemplate() {
	_, err := destination.ParseTemplate(destination.FileName, "{{filename}}-{{acount}}-{{ DD")
	fmt.Println(err)
	// Output:
	// 2 mistakes:
	// - file_name: at character 14: no variable is called "acount" (did you mean {{account}}?)
	// - file_name: at character 25: "{{" is not closed (write "}}" after the variable's name)
}
