package config

import "fmt"

// feature is something the file can say that this version cannot do yet.
type feature struct {
	key   string // below a route or defaults
	value string // only this value; empty: any
	note  string // what to write instead
	// tuning is a value without which a route is served all the same.
	tuning bool
}

// To lift a feature, delete its line.
var features = []feature{
	{key: "mode", value: "warm", note: " (spawn and auto are)"},
	{key: "mode", value: "reuse", note: " (spawn and auto are)"},
	{key: "workers.spare", tuning: true},
	{key: "workers.idle", tuning: true},
	{key: "reuse", tuning: true},
	{key: "preload", tuning: true},
	{key: "user"},
	{key: "limits"},
	{key: "php"},
	{key: "fastcgi"},
}

func (f feature) reason() string {
	if f.value != "" {
		return f.value + " is not supported in this version" + f.note
	}
	return "not supported in this version" + f.note
}

// unsupported lists the uses of features that are still to come, and marks the routes that cannot do without.
func (d *decoder) unsupported() []*Error {
	var uses []*Error
	for _, f := range features {
		if d.uses(f, "defaults") {
			uses = append(uses, d.unsupportedUse(f, "defaults."+f.key))
		}
		for i := range d.root.Routes {
			r := &d.root.Routes[i]
			route := fmt.Sprintf("routes[%d]", i)
			here := d.uses(f, route)
			if here {
				uses = append(uses, d.unsupportedUse(f, route+"."+f.key))
			}
			inherited := !d.src.has(route+"."+f.key) && d.uses(f, "defaults")
			if (here || inherited) && !f.tuning && r.Unsupported == "" {
				r.Unsupported = f.key + ": " + f.reason()
			}
		}
	}
	return uses
}

func (d *decoder) uses(f feature, block string) bool {
	m, ok := d.src.marks[block+"."+f.key]
	return ok && (f.value == "" || m.text == f.value)
}

func (d *decoder) unsupportedUse(f feature, key string) *Error {
	if f.value != "" {
		return d.src.value(key, "%s", f.reason())
	}
	return d.src.key(key, "%s", f.reason())
}
