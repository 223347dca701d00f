package console

import (
	"slices"
	"strings"

	"github.com/loadfleet/loadfleet/messages"
)

// processes is who says that it is there, by role and name.
func (c *Console) processes() []messages.Presence {
	present := c.present.Load()
	if present == nil {
		return nil
	}
	all := slices.DeleteFunc(present.All(), func(p messages.Presence) bool { return p.State == messages.ProcessStopped })
	slices.SortFunc(all, func(a, b messages.Presence) int {
		return strings.Compare(string(a.Role)+"\x00"+a.Name+"\x00"+a.Instance, string(b.Role)+"\x00"+b.Name+"\x00"+b.Instance)
	})
	return all
}

// instruct pauses, resumes or drains the workers of a name. Whether they obey
// shows on the page that follows, within seconds.
func (c *Console) instruct(r *request) (any, error) {
	name, what := r.PathValue("name"), messages.Instruction(r.PathValue("action"))
	known := []messages.Instruction{messages.InstructPause, messages.InstructResume, messages.InstructDrain}
	if !slices.Contains(known, what) || !messages.ValidProcessName(name) {
		return nil, notFound("There is nothing to press that is called %q.", what)
	}
	var drain []string
	for _, p := range c.processes() {
		if what == messages.InstructDrain && p.Role == messages.RoleWorker && p.Name == name {
			drain = append(drain, p.Instance)
		}
	}
	if what == messages.InstructDrain && len(drain) == 0 {
		return nil, notFound("No worker of the name %s is heard.", name)
	}
	if _, err := c.cfg.Queue.Instruct(r.Context(), messages.RoleWorker, name, what, drain, r.who.Name+"@console"); err != nil {
		return nil, err
	}
	return r.see("/", "Worker %s was told to %s. The table shows when it does.", name, what)
}
