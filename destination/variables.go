package destination

// Variable describes one variable of the templates, for help and pages.
type Variable struct {
	Name     string // as it stands between the braces
	Folder   bool   // may stand in folder
	FileName bool   // may stand in file_name
	Meaning  string
}

// Variables lists every variable of the templates (SPEC 4).
func Variables() []Variable {
	out := make([]Variable, 0, len(variables()))
	for _, v := range variables() {
		out = append(out, v.Variable)
	}
	return out
}

// value is where the text of a piece of a template comes from.
type value uint8

const (
	literal value = iota
	workspaceID
	workspaceTitle
	dataSource
	dataTableTitle
	reportType
	filename
	account
	year // of the partition's date
	month
	day
	todayYear // of the load's instant, as all that follow
	todayMonth
	todayDay
	hour
	minute
	second
	timestamp
)

// variable ties a name to its value. Those of a date or a time have a fixed
// width, on which the promise of [Naming] rests.
type variable struct {
	Variable
	value value
	today value // what it becomes in a template that has {{DD_today}}
}

func variables() []variable {
	const folder, both = false, true
	row := func(name string, v, today value, fileName bool, meaning string) variable {
		return variable{Variable: Variable{Name: name, Folder: true, FileName: fileName, Meaning: meaning}, value: v, today: today}
	}
	return []variable{
		row("workspace_id", workspaceID, workspaceID, folder, "the extraction's workspace"),
		row("workspace_title", workspaceTitle, workspaceTitle, folder, "the name of the extraction's workspace"),
		row("data_source", dataSource, dataSource, folder, "provider, integration, connector"),
		row("data_table_title", dataTableTitle, dataTableTitle, folder, "all extraction orders of the same granularity"),
		row("report_type", reportType, reportType, folder, "the set of metrics, properties, dimensions"),
		row("filename", filename, filename, both, "the destination table's name"),
		row("account", account, account, both, "the account; only with load_by_account"),
		row("YYYY", year, todayYear, both, "year of the partition's date; of today where {{DD_today}} stands"),
		row("MM", month, todayMonth, both, "month of the partition's date; of today where {{DD_today}} stands"),
		row("DD", day, day, both, "day of the partition's date"),
		row("DD_today", todayDay, todayDay, both, "today's day, UTC, fixed when the load starts"),
		row("H", hour, hour, both, "hour of the load, UTC"),
		row("M", minute, minute, both, "minute of the load"),
		row("S", second, second, both, "second of the load"),
		row("timestamp", timestamp, timestamp, both, "date and time the load started, 20240620T121517Z"),
	}
}

// name is what stands between the braces for v.
func (v value) name() string {
	for _, known := range variables() {
		if known.value == v || known.today == v {
			return known.Name
		}
	}
	return ""
}

// timed reports whether v is of the load's instant.
func (v value) timed() bool { return v >= todayYear }
