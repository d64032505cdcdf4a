package gateway

import (
	"cmp"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"warmcgi/internal/cgi"
	"warmcgi/internal/config"
	"warmcgi/internal/urlpath"
)

// smallBody is the largest body of known length that is received before the script
// starts: it fits into a pipe, so the script never waits for the client.
const smallBody = 64 << 10

// serveProgram: all of the route's URLs belong to one program.
func (x *exchange) serveProgram(rt *route, rest urlpath.Path) error {
	sc := rt.programCall()
	sc.name, sc.info = x.nameBefore(rest), rest.String()
	return x.serveScript(rt, sc)
}

// programCall is how the route's one program is run.
func (rt *route) programCall() scriptCall {
	sc := scriptCall{file: rt.CGI.Program, args: rt.CGI.Args}
	if interpreter := rt.Interpreters[filepath.Ext(sc.file)]; interpreter != "" {
		if info, err := os.Stat(sc.file); err == nil && info.Mode().Perm()&0o111 == 0 {
			sc.interpret(interpreter)
		}
	}
	return sc
}

// nameBefore is SCRIPT_NAME where rest is PATH_INFO.
func (x *exchange) nameBefore(rest urlpath.Path) string {
	return strings.TrimSuffix(x.path[:len(x.path)-len(rest)].Clean(), "/")
}

// serveDir: the path names a program in a folder; what follows it is PATH_INFO.
func (x *exchange) serveDir(rt *route, rest urlpath.Path) error {
	f, err := urlpath.Walk(rt.CGI.Dir, rest, rt.rules)
	if err != nil {
		return err
	}
	if f.Info.IsDir() {
		return x.serveFolder(rt, f, rt.CGI.Index, rt.CGI.Listing, func(f urlpath.Found) error { return x.serveIn(rt, f) })
	}
	return x.serveIn(rt, f)
}

// serveIn runs a program of a folder, if it is one that may be run.
func (x *exchange) serveIn(rt *route, f urlpath.Found) error {
	if !rt.CGI.Runs(filepath.Base(f.File)) {
		return fmt.Errorf("%s is not one of `only`: %w", f.File, errNotFound)
	}
	return x.serveFound(rt, f)
}

// serveFound runs the file that a walk has found.
func (x *exchange) serveFound(rt *route, f urlpath.Found) error {
	sc, err := rt.foundCall(f)
	if err != nil {
		return err
	}
	sc.name, sc.info = strings.TrimSuffix(x.prefix(rt), "/")+f.Used.String(), f.Rest.String()
	return x.serveScript(rt, sc)
}

// foundCall is how a file that a walk has found is run, if it may be.
func (rt *route) foundCall(f urlpath.Found) (scriptCall, error) {
	sc := scriptCall{file: f.File}
	if f.Info.Mode().Perm()&0o111 == 0 {
		interpreter := rt.Interpreters[filepath.Ext(f.File)]
		if interpreter == "" {
			return sc, fmt.Errorf("script %s is not executable, and no interpreter is set for %q: %w", f.File, filepath.Ext(f.File), errForbidden)
		}
		sc.interpret(interpreter)
	}
	return sc, nil
}

// prefix is the route's path as SCRIPT_NAME has it.
func (x *exchange) prefix(rt *route) string { return path.Clean(rt.Path) }

// scriptCall is a script and the way the URL named it.
type scriptCall struct {
	file, interpreter string
	args              []string
	name, info        string   // SCRIPT_NAME, PATH_INFO
	label             string   // for logs and metrics, where SCRIPT_NAME is whatever the client asked for
	extra             []string // further variables
	php               bool     // it is php-fpm's
}

// interpret has the script run by a program, as it can't run by itself.
func (sc *scriptCall) interpret(program string) {
	sc.interpreter = program
	sc.extra = []string{"REDIRECT_STATUS=200"} // what Apache's Action sets, and php-cgi insists on
}

// serveScript makes HTTP a [cgi.Request], has it answered, and sends the answer:
// this is the one place.
func (x *exchange) serveScript(rt *route, sc scriptCall) error {
	x.script, x.mode = labelOf(cmp.Or(sc.label, sc.name)), string(config.ModeSpawn)
	x.s.watch.requests.Runs(&x.now, x.script)
	req := &cgi.Request{
		ID: x.id,
		Script: cgi.Script{
			Name:        x.script,
			File:        sc.file,
			Dir:         filepath.Dir(sc.file),
			Interpreter: sc.interpreter,
			Args:        append(sc.args[:len(sc.args):len(sc.args)], cgi.IndexedArgs(x.r.Method, x.r.URL.RawQuery)...),
			NPH:         strings.HasPrefix(filepath.Base(sc.file), "nph-"),
		},
		Route:   rt.label(),
		Env:     rt.env,
		Timeout: rt.timeouts,
		Queue:   rt.queue,
		Workers: rt.workers,
		Confine: rt.confine,
	}
	backend := x.s.backend
	if rt.FastCGI != nil || sc.php {
		backend, req.Env, req.Queue, req.Workers, req.Confine = rt.app, rt.ownEnv, rt.app.queue, nil, nil
		req.Script.NPH, req.Script.Args, x.mode = false, nil, string(cgi.ModeFastCGI)
	}
	if err := x.ownRules(rt, req, sc.php); err != nil {
		return err
	}
	if rt.OnDisconnect == config.DisconnectFinish {
		req.Disconnect = cgi.Finish
	}
	spooled, err := x.takeBody(rt, req)
	if err != nil {
		return err
	}
	if spooled != nil {
		defer spooled.Close()
	}
	req.Vars = override(cgi.Vars(x.r, x.meta(rt, sc, req)), append(x.frontVars(rt), sc.extra...))
	req.Vars = override(req.Vars, x.vars)
	x.trace.follow(req)
	if err := x.changeFields(rt, req); err != nil {
		return err
	}
	if backend == cgi.Backend(rt.app) {
		if err := x.mapParams(rt.params, req); err != nil {
			return err
		}
	}
	x.st.holdFor(req)
	ended := make(chan struct{})
	x.scriptEnded = ended
	req.AtEnd(func(e cgi.Exit) {
		x.s.metrics.ended(req, e)
		x.s.logEnd(req, e)
		close(ended)
	})
	res, err := backend.RoundTrip(x.context(), req)
	if req.Mode != "" {
		x.mode = string(req.Mode)
	}
	if err != nil {
		return err
	}
	if to := res.LocalRedirect(); to != "" && x.isNamed() {
		res.Status = http.StatusFound // what is there only the front server knows: the client goes, as with fcgiwrap
	} else if to != "" {
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
		return x.redirectLocally(to)
	}
	if done, err := x.sendFile(rt, res); done || err != nil {
		return err
	}
	return x.send(res)
}

// labelOf is a script's name where it has to be UTF-8, as labels of metrics and JSON have to:
// a file's name need not be. Octets that are not are written as in a URL.
func labelOf(name string) string {
	if utf8.ValidString(name) {
		return name
	}
	var b strings.Builder
	for len(name) > 0 {
		r, n := utf8.DecodeRuneInString(name)
		if r == utf8.RuneError && n == 1 {
			fmt.Fprintf(&b, "%%%02X", name[0])
		} else {
			b.WriteString(name[:n])
		}
		name = name[n:]
	}
	return b.String()
}

// meta is what the meta-variables are made of.
func (x *exchange) meta(rt *route, sc scriptCall, req *cgi.Request) *cgi.Meta {
	m := &cgi.Meta{
		ID:                x.id,
		ScriptName:        sc.name,
		PathInfo:          sc.info,
		ScriptFilename:    req.Confine.Inside(sc.file),
		Untranslated:      sc.info != "" && rt.runsPHP(&sc),
		DocumentRoot:      req.Confine.Inside(cmp.Or(rt.docRoot, x.params.Get("DOCUMENT_ROOT"), rt.ownRoot)),
		ServerAdmin:       rt.admin,
		LocalAddr:         x.localAddr(),
		ServerPort:        x.client.port,
		RemoteAddr:        x.client.addr,
		HTTPS:             x.client.https,
		RequestURI:        x.requestURI(),
		User:              x.user,
		AuthType:          x.authType,
		PassAuthorization: rt.Authorization == config.AuthorizationPass,
		Length:            -1,
	}
	if req.Body != nil || x.r.Header["Content-Length"] != nil {
		m.Length = req.Length
	}
	return m
}

// takeBody gives the request its body. One of unknown length is spooled, so that
// CONTENT_LENGTH is true; so is a small one, which costs nothing and keeps a slow
// client from holding a process. Others stream.
func (x *exchange) takeBody(rt *route, req *cgi.Request) (*cgi.Spooled, error) {
	r := x.r
	if r.ContentLength == 0 || r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	if r.ContentLength > rt.maxBody {
		return nil, fmt.Errorf("%w: %d octets, the limit is %d", cgi.ErrBodyTooLarge, r.ContentLength, rt.maxBody)
	}
	x.body = newClientBody(x.ResponseWriter, r, time.Duration(rt.Timeout.Idle))
	stream := r.ContentLength > smallBody && rt.Body.Buffer != config.BufferSpool
	if stream && !req.Script.NPH { // an nph- script takes the connection over, so its body must be off it
		if r.ProtoMajor == 1 && x.conn != nil {
			x.duplex = http.NewResponseController(x.ResponseWriter).EnableFullDuplex() == nil
		}
		req.Body, req.Length = x.body, r.ContentLength
		return nil, nil
	}
	c := cgi.SpoolConfig{Max: rt.maxBody, Memory: int64(rt.Body.Memory), Size: r.ContentLength}
	if r.ContentLength > 0 && r.ContentLength <= smallBody {
		c.Memory = math.MaxInt32
	}
	s, err := cgi.Spool(x.body, c)
	if err != nil {
		return nil, err
	}
	req.Body, req.Length = s, s.Len()
	return s, nil
}

// localAddr is where the request came in, or "".
func (x *exchange) localAddr() string {
	if a, ok := x.r.Context().Value(http.LocalAddrContextKey).(interface{ Network() string }); ok && strings.HasPrefix(a.Network(), "tcp") {
		return a.(interface{ String() string }).String()
	}
	return ""
}

// logEnd logs how a script ended, where it did not end well.
func (s *Server) logEnd(req *cgi.Request, e cgi.Exit) {
	for _, limit := range e.Met {
		s.log.Warn("the processes of a script have met a limit", "id", req.ID, "script", req.Script.Name, "limit", req.Confine.Describe(limit))
	}
	if !e.Started || e.Signal == "" && e.Code <= 0 {
		return
	}
	mode := req.Mode
	if mode == "" {
		mode = cgi.ModeSpawn
	}
	log := s.log.With("id", req.ID, "script", req.Script.Name, "mode", mode)
	if words := req.Confine.Words(); words != "" && e.Killed == "" { // what a script that ran out of something does is not to be foreseen
		log = log.With("limits", words)
	}
	how := slog.Int("status", e.Code)
	if e.Signal != "" {
		how = slog.String("signal", e.Signal)
	}
	switch {
	case e.Killed != "":
		log.Info("script was ended", "why", e.Killed, how)
	case e.Limit != "":
		log.Warn("script was ended by a limit", "limit", e.Limit, how)
	case e.Signal != "":
		log.Warn("script was killed by a signal", how)
	default:
		log.Info("script ended with an exit status", how)
	}
}
