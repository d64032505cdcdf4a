# The Perl runner: it makes a warm parent of the interpreter, and workers of its
# children (docs/worker-protocol.md). This text stands in a BEGIN block before the
# script's own source, which so remains the main program: perl compiles it as ever, and
# the INIT block that was registered here, before any other, runs when that is done.
# There the warm parent forks. A child returns from the INIT block into the script.
package WarmCGI;
use strict;

our ($SCRIPT, $MODE, $PREFIX);    # set by the text before this one
our (%ORDER, @PRELOAD, %LATE);    # the order
our %VARIABLE;                    # names of a request's variables, as the order has them
our $PARENT = $$;
our ($CTL, $WORKER);              # control socket; our pid once we are a worker
our ($ERRORS, $LOADING, $SAID);   # the real descriptor 2; what it is while loading; what was written there
our ($CHLD, $ALARM);              # the handler and the alarm that loading has set
our $ADDRESS;                     # of the script's socket
our (@STANDARD, @COPIES);         # what 0, 1 and 2 are; pairs: one of them, and a descriptor that is a copy of it
our ($ENV, %SET);                 # the real %ENV; what loading set in it
our (%READ, %SEEN);               # what loading read of it: a request's variables, and others with their values
our $UMASK = umask;
our @COMMAND = do { open my $h, '<:raw', '/proc/self/cmdline'; split /\0/, <$h> // '' };
our (%LOADED, @DATA);             # %INC at the fork; handles DATA
our %CHILDREN;                    # of the warm parent
our @LIBRARY = grep { my $dir = $_; !ref && m{^/} && !grep $_ eq $dir, split /:/, $main::ENV{PERL5LIB} // '' } @INC;

# What is needed of POSIX is had without its module, which would be there for the script,
# too: in %INC, and in the numbers of its string evals. The package is taken away again
# once this file is compiled.
our $POSIX = eval {
    DynaLoader::boot_DynaLoader('DynaLoader') if !defined &DynaLoader::dl_load_file;
    my ($file) = grep { -e } map "$_/auto/POSIX/POSIX.so", @LIBRARY;
    my $boot = DynaLoader::dl_find_symbol(DynaLoader::dl_load_file($file, 0), 'boot_POSIX');
    DynaLoader::dl_install_xsub('POSIX::bootstrap', $boot, $file)->('POSIX');
    1;
};
require POSIX if !$POSIX;
our $MASK = POSIX::SigSet->new(POSIX::SIGCHLD(), POSIX::SIGTERM());

open($CTL, '+<&=', 3) or die "control socket: $!";
binmode $CTL;    # -C and PERL_UNICODE ask for layers on all handles

sub say_line { syswrite($CTL, join(' ', @_) . "\n") }

# word writes a word as the protocol has it.
sub word {
    my $s = shift;
    $s =~ s/([^!-\$&-~])/sprintf '%%%02X', ord $1/ge;
    return length $s ? $s : '-';
}

# pairs reads a netstring of names and values, and not an octet more; the empty list is
# the end of the file. No netstring here is shorter than four octets.
sub pairs {
    my ($fd, $text, $head, $more) = @_;
    read_all($fd, $head, 4) or return;
    while ($head !~ /:/) { read_all($fd, $head, 1) or return }
    ($more, $text) = split /:/, $head, 2;
    read_all($fd, $text, $more + 1 - length $text) or return;
    return split /\0/, substr($text, 0, -1), -1;    # and an empty one behind the last NUL
}

# read_all appends octets to its second argument.
sub read_all {
    my ($fd, undef, $n) = @_;
    while ($n > 0) {
        my $got = POSIX::read($fd, my $b, $n);
        next if !defined $got && $! == 4;    # EINTR
        return 0 if !$got || $got == 0;
        $_[1] .= $b;
        $n -= $got;
    }
    return 1;
}

# A request's variables are not there while the script is loaded. One that reads them
# then would keep what it saw, so it must not be warm: %ENV is watched. Others are thought
# to be the same for all requests, which is looked at again when a request comes. What
# loading sets in it (BEGIN { $ENV{PATH} = ... } is usual with -T) stays set over every
# request's.
{
    package WarmCGI::Env;
    my $request = qr/^(?:HTTP_|REMOTE_|CONTENT_|PATH_INFO$|PATH_TRANSLATED$|QUERY_STRING$|REQUEST_|SCRIPT_NAME$|SERVER_(?:NAME|PORT|PROTOCOL|ADDR)$|AUTH_TYPE$|HTTPS$)/;
    sub TIEHASH  { bless {}, shift }
    sub FETCH    { look($_[1]); $WarmCGI::ENV->{$_[1]} }
    sub EXISTS   { look($_[1]); exists $WarmCGI::ENV->{$_[1]} }
    sub STORE    { $WarmCGI::SET{$_[1]} = $_[2]; $WarmCGI::ENV->{$_[1]} = $_[2] }
    sub DELETE   { $WarmCGI::SET{$_[1]} = undef; delete $WarmCGI::ENV->{$_[1]} }
    sub CLEAR    { $WarmCGI::READ{'all variables'} = 1; %$WarmCGI::ENV = () }
    sub FIRSTKEY { $WarmCGI::READ{'all variables'} = 1 if caller ne 'CGI::Fast'; keys %$WarmCGI::ENV; each %$WarmCGI::ENV }
    sub NEXTKEY  { each %$WarmCGI::ENV }
    sub SCALAR   { scalar %$WarmCGI::ENV }
    # (CGI::Fast has a loop over all that looks at none.)
    sub look {
        my $name = shift;
        if ($name =~ $request || $WarmCGI::VARIABLE{$name}) { $WarmCGI::READ{$name} = 1 }
        elsif (!exists $WarmCGI::SET{$name}) { $WarmCGI::SEEN{$name} = $WarmCGI::ENV->{$name} }
    }
}

sub watch_env {
    $ENV = \%main::ENV;
    tie my %watch, 'WarmCGI::Env';
    *main::ENV = \%watch;
}

sub unwatch_env { *main::ENV = $ENV }

sub order {
    my @pairs = pairs(3);
    pop @pairs;
    while (my ($name, $value) = splice @pairs, 0, 2) {
        if    ($name eq 'preload') { push @PRELOAD, $value }
        elsif ($name eq 'variable') { $VARIABLE{$value} = 1 }
        elsif ($name eq 'late')    { $LATE{$1} = $2 if $value =~ /^(.*?)=(.*)\z/s }
        elsif ($value =~ /^(.*)\z/s) { $ORDER{$name} = $1 }    # it is the gateway's: not tainted
    }
    say_line('hello', 1, word($ORDER{cookie}), 'perl', sprintf '%vd', $^V);
    POSIX::close(4);
}

# What perl says while it compiles, it says to every request in plain CGI. So it is kept,
# and each worker repeats it.
sub keep_errors {
    @STANDARD = map identity($_), 0 .. 2;
    open($ERRORS, '>&', 2) && open($LOADING, '+>>:raw', undef) or return;
    POSIX::dup2(fileno $LOADING, 2);
}

sub release_errors {
    return if !$LOADING;
    $STANDARD[2] = 'replaced' if identity(2) ne identity(fileno $LOADING);
    seek $LOADING, 0, 0;
    read $LOADING, $SAID, 1 << 20;
    $SAID =~ s/^Warning: Use of "exit" without parentheses.*\n//mg if $MODE eq 'reuse';    # it is our exit
    find_copies();
    POSIX::dup2(fileno $ERRORS, $_) for copies(2);
    close $LOADING;
    close $ERRORS;
    undef $LOADING;
}

# find_copies looks for copies of the standard descriptors: CGI::Carp, for one, makes one
# of 2 when it is loaded. A worker's have to be copies of its own.
sub find_copies {
    my %what = map { identity($_) => $_ } 0, 1, 2;
    my %known = map { fileno($_) => 1 } $CTL, $LOADING, $ERRORS;
    opendir my $dir, '/proc/self/fd' or return;
    for my $fd (grep { /^\d+\z/ && $_ > 2 && !$known{$_} } readdir $dir) {
        my $which = $what{identity($fd)};
        push @COPIES, [$which, $fd] if defined $which;
    }
}

sub identity { join ' ', (stat '/proc/self/fd/' . shift)[0, 1] }

sub failed {
    release_errors();
    POSIX::write(2, $SAID, length $SAID);
    say_line('failed', word(shift // (length $SAID ? substr $SAID, 0, 1000 : 'it ended while it was loaded')));
    POSIX::_exit(1);
}

# preload loads what the route names.
sub preload {
    for my $m (@PRELOAD) {
        (my $file = $m) =~ s{::}{/}g;
        $file =~ /^([\w.\/+-]+)\z/ or failed("preload: $m is no module's name");
        $file = $1 =~ /\.p[lm]\z/ ? $1 : "$1.pm";
        eval { package main; require $file; 1 } or failed("preload: $m: $@");
    }
}

# load_late loads what workers of an earlier parent loaded after their fork, if it is
# found in the same file, and does not look at what the script may have set by then.
sub load_late {
    local ($@, $!, $SIG{__DIE__}, $SIG{__WARN__});
    $SIG{__WARN__} = sub { };
    for my $name (sort keys %LATE) {
        next if $INC{$name} || $name !~ /^([\w\/]+\.pm)\z/;
        $name = $1;
        my ($dir) = grep { !ref && -e "$_/$name" } @INC;
        next if !defined $dir || "$dir/$name" ne $LATE{$name} || looks_back($LATE{$name});
        eval { package main; require $name; 1 };
    }
}

# looks_back reports whether a module may depend, while it is loaded, on what the script
# has done before. One of the script's own has more ways to do so than one of a library.
sub looks_back {
    my $file = shift;
    open my $h, '<:raw', $file or return 1;
    sysread $h, my $text, 1 << 24;
    $text =~ s/^__(?:END|DATA)__.*|^=[a-zA-Z].*?(?:^=cut\b.*?$|\z)|^\s*#.*?$//gms;
    return 1 if $text =~ /[\$\@%&*](?:main)?::\w|\bpackage\s+main\b/;
    return !in_library($file) && $text =~ /\|\|=|\/\/=|\b(?:defined|exists|ENV|ARGV|caller|time|localtime|gmtime|getcwd|cwd)\b|\$0/;
}

sub in_library { my $file = shift; return scalar grep { index($file, "$_/") == 0 } @LIBRARY }

# report tells the gateway what was loaded, and what keeps the script from being forked.
sub report {
    say_line('file', word($SCRIPT));
    for my $name (keys %INC) {
        my $file = file_of($name);
        say_line('file', word($file)) if -e $file;
    }
    for (0 .. 2) {
        say_line('unsafe', word('replaces standard ' . (qw(input output error))[$_] . ' while it is loaded')) if $STANDARD[$_] ne identity($_);
    }
    say_line('unsafe', word("reads $_ while it is loaded")) for sort keys %READ;
    if ($MODE eq 'reuse' && $ORDER{captured} ne 'accept') { say_line('captured', word($_)) for captured() }
}

# each_stash calls a function with the name and the hash of each package.
sub each_stash {
    my $do = shift;
    my @names = ('');
    my %seen;
    while (defined(my $prefix = shift @names)) {
        no strict 'refs';
        my $stash = \%{length $prefix ? $prefix : 'main::'};
        next if $seen{$stash}++;
        push @names, map $prefix . $_, grep /^\w+::\z/ && $_ ne 'main::', keys %$stash;
        $do->(length $prefix ? substr($prefix, 0, -2) : 'main', $stash);
    }
}

# keep_data closes the handles DATA: an inherited descriptor would have one offset for
# all workers. Each of them opens its own.
sub keep_data {
    my ($name, $stash) = @_;
    no strict 'refs';
    local $^W = 0;
    my $glob = exists $stash->{DATA} && ref \$stash->{DATA} eq 'GLOB' ? $stash->{DATA} : return;
    return if !defined fileno *$glob;
    my $file = readlink '/proc/self/fd/' . fileno *$glob;
    my $at   = tell *$glob;
    ($file, $at) = ($SCRIPT, $at - $PREFIX) if $name eq 'main' || $file !~ m{^/} || $file =~ /memfd:/;
    push @DATA, [$glob, $file, $at, join '', map ":$_", grep !/^(?:unix|perlio)\z/, PerlIO::get_layers(*$glob)];
    close *$glob;
}

sub open_data {
    for (@DATA) {
        my ($glob, $file, $at, $layers) = @$_;
        open(*$glob, "<:raw$layers", $file) and seek(*$glob, $at, 0);
    }
}

# An ordinary exit destroys all objects, and pays for each page of the warm parent's that
# it touches. It is only needed where an object with a destructor is alive, or may be. How
# many objects a class has is told by the references to it: each object holds one.
our @HARMLESS = map "${_}::DESTROY", qw(CGI IO::Handle SelectSaver Regexp Encode::Encoding WarmCGI::Env);
our @CLASSES;     # in threes: class, its symbols, the references to it at the fork
our @SYMBOLS;     # in pairs: a package's symbols, and how many there were
our %PACKAGES;    # addresses of the packages' symbols
our $LASTING;     # an object with a destructor may be alive since before the fork

sub note_class {
    my ($name, $stash) = @_;
    push @SYMBOLS, $stash, 0;
    $PACKAGES{0 + $stash} = 1;
    return if $name =~ /^(?:main|UNIVERSAL|WarmCGI)\z/;
    push @CLASSES, $name, $stash, 0 if destroys($name) || !in_library(file_of_package($name));
}

# count_classes comes after all is looked up that is looked up: perl notes in a package
# which methods it has not.
sub count_classes {
    for (my $i = 0; $i < @SYMBOLS; $i += 2) { $SYMBOLS[$i + 1] = %{$SYMBOLS[$i]} }
    for (my $i = 0; $i < @CLASSES; $i += 3) {
        my $name  = $CLASSES[$i];
        my $count = $CLASSES[$i + 2] = Internals::SvREFCNT(%{$CLASSES[$i + 1]});
        # Three are its own and ours. Each "our" is one, too; who would count them?
        next if $LASTING || $count == 3 || !destroys($name);
        my $file = file_of_package($name);
        $file = file_of_package($name) while !length $file && $name =~ s/::\w+\z//;
        $LASTING = !in_library($file);
    }
}

sub file_of_package { (my $file = shift) =~ s{::}{/}g; return $INC{"$file.pm"} // '' }

sub destroys {
    my $destroy = UNIVERSAL::can($_[0], 'DESTROY') || UNIVERSAL::can($_[0], 'AUTOLOAD') || return 0;
    return !grep { defined &$_ && \&$_ == $destroy } @HARMLESS;
}

# to_destroy reports whether the script may have made something that has to be destroyed.
sub to_destroy {
    return 1 if $LASTING || keys %INC != keys %LOADED || $INC{'threads.pm'};
    for (my $i = 0; $i < @CLASSES; $i += 3) {
        return 1 if Internals::SvREFCNT(%{$CLASSES[$i + 1]}) > $CLASSES[$i + 2] && destroys($CLASSES[$i]);
    }
    for (my $i = 0; $i < @SYMBOLS; $i += 2) {
        next if $SYMBOLS[$i + 1] == %{$SYMBOLS[$i]};
        return 1 if grep { /::\z/ && !$PACKAGES{0 + \%{$SYMBOLS[$i]{$_}}} } keys %{$SYMBOLS[$i]};
    }
    return 0;
}

# fork_loop is the warm parent's life. A worker returns from it.
#
# All that runs here and in a worker before the script costs a page fault and a copy for
# each page that it writes to, in each worker, and a variable is on a page: so this is a
# few long subs with few variables, and calls the system where perl would make a handle.
sub fork_loop {
    POSIX::sigprocmask(POSIX::SIG_BLOCK(), $MASK);
    my ($lines, $stopping, $wanted, $n, $bits, $pid) = ('', 0, 0);
    my $signals = signalfd();
    while (1) {
        $bits = "\x08";    # descriptor 3
        vec($bits, $signals, 1) = 1 if defined $signals;
        select($bits, undef, undef, $wanted ? 0.05 : defined $signals ? undef : %CHILDREN ? 0.02 : 1);
        if (!defined $signals) {
            POSIX::sigpending($MASK);
            end_all() if $MASK->ismember(POSIX::SIGTERM());
            $MASK->fillset;
        } elsif (vec($bits, $signals, 1)) {
            POSIX::read($signals, $n, 128);
            end_all() if unpack('L', $n // '') == POSIX::SIGTERM();
        }
        while (%CHILDREN and ($pid = waitpid -1, POSIX::WNOHANG()) > 0) {
            syswrite $CTL, "exit $pid $? -1 -1\n" if delete $CHILDREN{$pid};
        }
        POSIX::_exit(0) if $stopping && !%CHILDREN;
        if (vec($bits, 3, 1)) {
            sysread($CTL, $lines, 4096, length $lines) or end_all();
            while ($lines =~ s/^(\w+) ?(\d*)\n//) {
                if    ($1 eq 'fork') { $wanted += $2 }
                elsif ($1 eq 'stop') { $stopping = 1; $wanted = 0; POSIX::_exit(0) if !%CHILDREN }
            }
        }
        while ($wanted > 0) {
            $pid = fork;
            last if !defined $pid;    # a limit of processes; the dead have to be waited for
            if (!$pid) {
                POSIX::sigprocmask(POSIX::SIG_UNBLOCK(), $MASK);
                return;
            }
            $wanted--;
            $CHILDREN{$pid} = 1;
            syswrite $CTL, "forked $pid\n";
        }
    }
}

# The numbers of some system calls, where they are known. perl has these calls too, but
# each makes a handle.
our %CALL = %{+{
    'linux x86_64'  => {socket => 41,  connect => 42,  signalfd => 289},
    'linux aarch64' => {socket => 198, connect => 203, signalfd => 74},
}->{"$^O " . (POSIX::uname())[4]} // {}};

# signalfd makes signals readable, where perl's syscall can be trusted with it: handlers
# in Perl run between operations, so one that comes just before select would be late.
# Workers inherit it, and can do nothing with it.
sub signalfd {
    return undef if !$CALL{signalfd};
    my $mask = pack 'Q', (1 << POSIX::SIGCHLD() - 1) | (1 << POSIX::SIGTERM() - 1);
    my $fd = syscall($CALL{signalfd}, -1, $mask, 8, 02000000 | 04000);    # SFD_CLOEXEC | SFD_NONBLOCK
    return $fd >= 0 ? $fd : undef;
}

# end_all: the gateway has gone.
sub end_all {
    kill KILL => map { -$_ } keys %CHILDREN;
    POSIX::_exit(0);
}

# connection is a descriptor that is connected to the script's socket.
sub connection {
    if ($CALL{socket}) {
        my $fd = syscall($CALL{socket}, 1, 1 | 02000000, 0);    # AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC
        syscall($CALL{connect}, $fd, $ADDRESS, length $ADDRESS) == 0 or POSIX::_exit(1);
        return $fd;
    }
    socket(my $s, 1, 1, 0) or POSIX::_exit(1);
    connect($s, $ADDRESS)  or POSIX::_exit(1);
    return POSIX::dup(fileno $s);    # the caller closes it
}

# become_worker: descriptor 2 for the worker's whole life.
sub become_worker {
    $WORKER = $$;
    setpgrp(0, 0);
    $SIG{CHLD} = $CHLD if defined $CHLD;
    my $fd = connection();
    POSIX::dup2($fd, $_) for copies(2);
    POSIX::close($fd);
}

# copies is a standard descriptor and the copies that loading made of it.
sub copies { $_[0], @COPIES ? map $_->[1], grep $_->[0] == $_[0], @COPIES : () }

# next_request waits for a request, and puts it where a CGI program looks for it. It
# returns the script's arguments.
sub next_request {
    my $fd = connection();
    my @pairs = pairs($fd) or POSIX::_exit(0);
    my (@args, $name, $value);
    my $names = 0;
    for (my $i = 0; $i < $#pairs; $i += 2) {
        ($name, $value) = @pairs[$i, $i + 1];
        if (ord $name == 61) { push @args, $value if $name eq '=arg'; next }
        $ENV->{$name} = $value if ($ENV->{$name} // "\0") ne $value;
        ++$names;
    }
    if (keys %$ENV != $names) {    # some are of another request, or of the parent's
        my %given = @pairs;
        delete $ENV->{$_} for grep !exists $given{$_}, keys %$ENV;
    }
    POSIX::dup2($fd, $_) for copies(1);
    if ($ENV->{CONTENT_LENGTH}) { POSIX::dup2($fd, $_) for copies(0) }
    POSIX::close($fd);
    for (keys %SEEN) {
        be_plain($_, @args) if ($ENV->{$_} // "\0") ne ($SEEN{$_} // "\0");
    }
    for (keys %SET) {
        if (defined $SET{$_}) { $ENV->{$_} = $SET{$_} }
        else                  { delete $ENV->{$_} }
    }
    POSIX::write(2, $SAID, length $SAID) if length $SAID;
    $^T = time;
    alarm $ALARM if $ALARM;
    open_data() if @DATA;
    if ($MODE eq 'reuse') { handles(); seed() }
    else                  { srand }
    utf8::decode($_) for ${^UNICODE} & 32 ? @args : ();    # -CA
    $! = $? = 0;    # die ends with them
    return @args;
}

# be_plain: loading has read a variable that this request has with another value. So the
# script runs as plain CGI does, now and from now on.
sub be_plain {
    my ($name, @args) = @_;
    say_line('unsafe', word("reads $name while it is loaded"));
    umask $UMASK;
    chdir $SCRIPT =~ s{[^/]*\z}{}r;
    $SIG{$_} = 'DEFAULT' for grep { ($SIG{$_} // '') eq 'IGNORE' } keys %SIG;
    my ($perl, @command) = ($^X, map { $_ eq '/proc/self/fd/4' ? $SCRIPT : $_ } @COMMAND);
    ($_) = /^(.*)\z/s for $perl, @command, @args, @$ENV{grep exists $ENV->{$_}, qw(PATH IFS CDPATH ENV BASH_ENV)};    # not tainted
    eval { exec { $perl } @command, @args } or POSIX::write(2, $@, length $@);
    POSIX::_exit(1);
}

# null puts /dev/null on descriptors.
sub null {
    my $fd = POSIX::open('/dev/null', 2) // return;    # O_RDWR
    POSIX::dup2($fd, $_) for @_;
    POSIX::close($fd) if $fd > 2;    # it is 0 if that was closed
}

# place is the path of a file that was loaded by a path below the script's folder.
sub place {
    my $file = shift;
    return $file =~ m{^/} ? $file : $SCRIPT =~ s{[^/]*\z}{}r . $file;
}

sub file_of {
    my $file = $INC{$_[0]};
    return defined $file && !ref $file ? place($file) : '-';
}

sub finished {
    my ($code, $left) = @_;
    if (keys %INC != keys %LOADED) {
        for my $name (grep !exists $LOADED{$_}, keys %INC) {
            say_line('late', $$, word($name), word(file_of($name))) if $MODE eq 'reuse' || $name =~ /\.pm\z/;
            $LOADED{$name} = 1;
        }
    }
    say_line('done', $$, $code & 255, $left || '-');
}

# flush_all writes what is in the buffers of all open handles: perl does so before each
# exec, also before one that fails.
sub flush_all {
    local $^W = 0;
    local ($@, $!, $?, $SIG{__DIE__});
    local $SIG{__WARN__} = sub { };    # -W warns where nobody wants it
    eval { local %ENV = (); exec { '' } '' };
}

# ended is the last END block of whatever process has compiled the script.
sub ended {
    return leave() if defined $WORKER;
    failed() if defined $LOADING && $$ == $PARENT;
}

# leave is the last END block of a worker in mode warm. Where perl's own exit is needed,
# the gateway learns the end from the exit status.
sub leave {
    return if $$ != $WORKER;
    my $code = $?;
    if (waitpid(-1, POSIX::WNOHANG()) == 0 || to_destroy()) {
        for my $name (grep !exists $LOADED{$_}, keys %INC) {
            say_line('late', $$, word($name), word(file_of($name))) if $name =~ /\.pm\z/;
        }
        $? = $code;
        return;
    }
    flush_all();
    finished($code);
    POSIX::close(1);    # before all the memory is given back
    POSIX::_exit($code & 255);
}

sub start {
    delete $main::{'POSIX::'} if $POSIX;
    order();
    keep_errors();
    watch_env();
    preload();
}

# loaded is what the INIT block does.
sub loaded {
    load_late();
    unwatch_env();
    each_stash(\&keep_data);
    release_errors();
    each_stash(\&note_class);
    count_classes();
    %LOADED = map { $_ => 1 } keys %INC;
    { my $was = select(STDOUT); my $af = $|; $| = 1; $| = $af; select($was) }    # flushes
    $ALARM = alarm 0;
    if (defined $SIG{CHLD}) { $CHLD = $SIG{CHLD}; $SIG{CHLD} = 'DEFAULT' }    # the parent waits for its children itself
    $ADDRESS = $^O eq 'linux' ? pack('Sa*', 1, "$ORDER{socket}\0") : pack('CCa*', 3 + length $ORDER{socket}, 1, "$ORDER{socket}\0");
    report();
    null(copies(0));    # for requests without a body
    say_line('ready');
    fork_loop();
    become_worker();
    @main::ARGV = next_request() if $MODE eq 'warm';
}
