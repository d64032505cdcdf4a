package config

import "log/slog"

// A word is a value out of a few; words lists them in the order the manual shows them.
type word interface{ words() []string }

// Mode is how a script is run.
type Mode string

// The modes; see Settings.Mode.
const (
	ModeSpawn Mode = "spawn"
	ModeWarm  Mode = "warm"
	ModeReuse Mode = "reuse"
	ModeAuto  Mode = "auto"
)

func (Mode) words() []string { return []string{"spawn", "warm", "reuse", "auto"} }

// OnDisconnect is what happens to a script whose client has gone.
type OnDisconnect string

// The values of Settings.OnDisconnect.
const (
	DisconnectKill   OnDisconnect = "kill"
	DisconnectFinish OnDisconnect = "finish"
)

func (OnDisconnect) words() []string { return []string{"kill", "finish"} }

// Buffering is how a request body reaches the script.
type Buffering string

// The values of Body.Buffer.
const (
	BufferAuto   Buffering = "auto"
	BufferStream Buffering = "stream"
	BufferSpool  Buffering = "spool"
)

func (Buffering) words() []string { return []string{"auto", "stream", "spool"} }

// Captured is what mode reuse does with captured Perl lexicals.
type Captured string

// The values of Reuse.Captured.
const (
	CapturedRefuse Captured = "refuse"
	CapturedAccept Captured = "accept"
)

func (Captured) words() []string { return []string{"refuse", "accept"} }

// Authorization is whether a script sees the Authorization field.
type Authorization string

// The values of Route.Authorization.
const (
	AuthorizationHide Authorization = "hide"
	AuthorizationPass Authorization = "pass"
)

func (Authorization) words() []string { return []string{"hide", "pass"} }

// Symlinks is whether a symbolic link may leave its folder.
type Symlinks string

// The values of Route.Symlinks.
const (
	SymlinksInside Symlinks = "inside"
	SymlinksFollow Symlinks = "follow"
)

func (Symlinks) words() []string { return []string{"inside", "follow"} }

// HealthCheck is how a FastCGI server is asked whether it is well.
type HealthCheck string

// The values of Health.Check.
const (
	CheckConnect HealthCheck = "connect"
	CheckValues  HealthCheck = "values"
	CheckPing    HealthCheck = "ping"
	CheckStatus  HealthCheck = "status"
)

func (HealthCheck) words() []string { return []string{"connect", "values", "ping", "status"} }

// Balance is how a FastCGI server is chosen.
type Balance string

// The values of FastCGI.Balance.
const (
	BalanceLeastConn  Balance = "least_conn"
	BalanceRoundRobin Balance = "round_robin"
)

func (Balance) words() []string { return []string{"least_conn", "round_robin"} }

// AccessFormat is the form of the access log.
type AccessFormat string

// The values of AccessLog.Format.
const (
	AccessCombined AccessFormat = "combined"
	AccessJSON     AccessFormat = "json"
	AccessOff      AccessFormat = "off"
)

func (AccessFormat) words() []string { return []string{"combined", "json", "off"} }

// LogFormat is the form of the gateway's own log.
type LogFormat string

// The values of Log.Format.
const (
	LogText LogFormat = "text"
	LogJSON LogFormat = "json"
)

func (LogFormat) words() []string { return []string{"text", "json"} }

// LogLevel is how much the gateway's own log shows.
type LogLevel string

// The values of Log.Level.
const (
	LogDebug LogLevel = "debug"
	LogInfo  LogLevel = "info"
	LogWarn  LogLevel = "warn"
	LogError LogLevel = "error"
)

func (LogLevel) words() []string { return []string{"debug", "info", "warn", "error"} }

// Slog is the level in log/slog's own terms.
func (l LogLevel) Slog() slog.Level {
	switch l {
	case LogDebug:
		return slog.LevelDebug
	case LogWarn:
		return slog.LevelWarn
	case LogError:
		return slog.LevelError
	default:
		return slog.LevelInfo
	}
}
