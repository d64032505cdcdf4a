# The Perl runner: it makes a warm parent of the interpreter, and workers of its
# children (docs/worker-protocol.md). This text stands in a BEGIN block before the
# script's own source, which so remains the main program: perl compiles it as ever, and
# the INIT block that was registered here, before any other, runs when that is done.
# There the warm parent forks. A child returns from the INIT block into the script.
# perl_load.pl, perl_rehearsal.pl, perl_objects.pl and, for mode reuse, perl_reuse.pl
# follow in the same block.
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
our @RANDOM;                      # the random numbers that are next
our $FD = -d '/proc/self/fd' ? '/proc/self/fd' : '/dev/fd';
our @COMMAND = do { open my $h, '<:raw', '/proc/self/cmdline'; split /\0/, <$h> // '' };
our (%LOADED, @DATA);             # %INC at the fork; handles DATA
our %CHILDREN;                    # of the warm parent
our @LIBRARY = grep { my $dir = $_; !ref && m{^/} && !grep $_ eq $dir, split /:/, $main::ENV{PERL5LIB} // '' } @INC;

# What is needed of POSIX is had without its module, which would be there for the script,
# too: in %INC, and in the numbers of its string evals. The package is taken away again
# once the runner is compiled.
our $POSIX = eval {
    DynaLoader::boot_DynaLoader('DynaLoader') if !defined &DynaLoader::dl_load_file;
    my ($file) = grep { -e } map "$_/auto/POSIX/POSIX.so", @LIBRARY;
    my $lib  = DynaLoader::dl_load_file($file // die, 0) // die;
    my $boot = DynaLoader::dl_find_symbol($lib, 'boot_POSIX') // die;
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
        my %given = (@pairs, '');    # after the last NUL is a name, too
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
    my ($perl, @command) = @COMMAND ? ($^X, map { $_ eq '/proc/self/fd/4' ? $SCRIPT : $_ } @COMMAND) : ($SCRIPT, $SCRIPT);
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
    rehearsal();
    keep_errors();
    my $seed = srand;
    @RANDOM = (rand, rand);
    srand $seed;
    watch_env();
    preload();
}

# loaded is what the INIT block does.
sub loaded {
    rehearsed() if $TELL;
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
    fill_holes() if $MODE eq 'warm';
    null(copies(0));    # for requests without a body
    say_line('ready');
    fork_loop();
    become_worker();
    @main::ARGV = next_request() if $MODE eq 'warm';
}
