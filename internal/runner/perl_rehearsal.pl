# A rehearsal: another process loads the script, too, and watches what that does. What the
# script's own modules and BEGIN blocks take from the clock or from the number of the
# process must not be the same for all requests, what they write must be written for each,
# and what they read may change. To watch it changes what is compiled, so it is not done
# where workers come from. Modules of perl's own folders are trusted to mean what they do.
our ($TELL, $TOLD, $GO);    # pipes: the rehearsal's end, and ours
our (%DOES, %DATA);         # what loading does; files and folders that it reads

{
    package WarmCGI::Number;    # $$, whose value is perl's in any case
    sub TIESCALAR { bless [], shift }
    sub FETCH     { WarmCGI::takes('reads its process number'); 0 }
    sub STORE     { }
}

# rehearsal forks before anything is loaded, and the child waits: only at the end is it
# known whether it is needed. It is an orphan, as the script may wait for all children.
sub rehearsal {
    local ($?, $!);
    opendir my $dir, '/proc/self/fd' or return;
    my ($source) = grep { (readlink "/proc/self/fd/$_" // '') =~ m{^/memfd:} } grep /^\d+\z/, readdir $dir;
    closedir $dir;
    return if !defined $source;
    pipe(my $told, my $tell) && pipe(my $wait, my $go) or return;
    binmode $_ for $told, $tell, $wait, $go;    # -C
    my $pid = fork // return;
    if ($pid) {
        waitpid $pid, 0;
        ($TOLD, $GO) = ($told, $go);
        return;
    }
    my $at = POSIX::lseek($source, 0, 1);    # the fork has put it back to where perl is
    POSIX::_exit(0) if ($pid = fork) || !defined $pid;
    close $_ for $told, $go;
    null(0 .. 3);
    sysread($wait, $pid, 1) or POSIX::_exit(0);
    close $wait;
    # perl goes on to read its source, at a place that it would share with the parent.
    $source =~ /^(\d+)/ && defined(my $new = POSIX::open("/proc/self/fd/$1", 0)) or POSIX::_exit(0);
    POSIX::lseek($new, $at, 0);
    POSIX::dup2($new, $source);
    POSIX::close($new);
    $TELL = $tell;
    syswrite $TELL, "$$\n";
    watch_calls();
}

# watch_calls: by their names, as a symbol that is mentioned is there in the parent, too.
sub watch_calls {
    tie $$, 'WarmCGI::Number';
    my %watch = (
        time      => sub () { takes('reads the clock'); CORE::time() },
        localtime => sub (;$) { @_ ? CORE::localtime($_[0]) : do { takes('reads the clock'); CORE::localtime() } },
        gmtime    => sub (;$) { @_ ? CORE::gmtime($_[0]) : do { takes('reads the clock'); CORE::gmtime() } },
        readpipe  => sub { $DOES{'starts a program'} = 1 if is_own(); CORE::readpipe(@_ ? $_[0] : $_) },
        opendir   => sub (*$) {
            reads($_[1]) if is_own();
            for (handle($_[0], scalar caller)) { return CORE::opendir($_, $_[1]) }
        },
        sysopen => sub (*$$;$) {
            if (is_own()) { $_[2] & 3 ? $DOES{'writes to a file'} = 1 : reads($_[1]) }
            for (handle($_[0], scalar caller)) { return @_ > 3 ? CORE::sysopen($_, $_[1], $_[2], $_[3]) : CORE::sysopen($_, $_[1], $_[2]) }
        },
        open => sub (*;$@) {
            opens(@_[1 .. $#_]) if @_ > 1 && is_own();
            for (handle($_[0], scalar caller)) {
                return @_ == 1 ? CORE::open($_) : @_ == 2 ? CORE::open($_, $_[1]) : CORE::open($_, $_[1], @_[2 .. $#_]);
            }
        },
    );
    *{"CORE::GLOBAL::$_"} = $watch{$_} for keys %watch;
}

# handle is what a function gets for its handle: the same variable, or the glob that a
# name means where it is called.
sub handle : lvalue {
    return $_[0] if !defined $_[0] || ref $_[0] || ref \$_[0] eq 'GLOB';
    my $name = $_[0] =~ /::|'|^STD(?:IN|OUT|ERR)\z/ ? $_[0] : "$_[1]::$_[0]";
    $name = "main::$name" if $name =~ /^STD/;
    my $glob = \*$name;
    return $glob;
}

# is_own reports whether what is being loaded is the script, or a module of its own.
sub is_own {
    for (my $i = 1; my @frame = caller $i; $i++) {
        return !in_library(file_of($frame[6])) if $frame[7];    # the innermost require
    }
    return 1;
}

# takes notes it of the file's own code only: what a library remembers, it means to.
sub takes { $DOES{$_[0]} = 1 if !in_library((caller 1)[1]) && is_own() }

sub opens {
    my ($mode, $path) = @_;
    if (@_ == 1) {
        return $DOES{'starts a program'} = 1 if $mode =~ /^\s*\||\|\s*\z/;
        ($mode, $path) = $mode =~ /^\s*(\+?[<>]{0,2}&?=?)\s*(.*?)\s*\z/s;
    }
    return $DOES{'starts a program'} = 1 if $mode =~ /\|/;
    return if $mode =~ /&/ || !defined $path || ref $path || $path =~ m{^(?:-\z|/dev/|/proc/)};
    $mode =~ /^\s*(?:>|\+)/ ? $DOES{'writes to a file'} = 1 : reads($path);
}

sub reads {
    my $path = shift;
    $path = POSIX::getcwd() . "/$path" if $path !~ m{^/};
    $DATA{$path} = 1 if !in_library($path);
}

# rehearsed ends the rehearsal.
sub rehearsed {
    untie $$;
    syswrite $TELL, join '', map("does $_\n", map word($_), sort keys %DOES), map("reads $_\n", map word($_), sort keys %DATA), "end\n";
    POSIX::_exit(0);
}

our $PATIENCE = 30;    # seconds

# ask_rehearsal has it done if there is something of the script's own that it can show.
sub ask_rehearsal {
    return if !$GO;
    my ($text, $bits) = '';
    if (grep({ my $file = file_of($_); $file ne '-' && !in_library($file) } keys %INC) || has_begin()) {
        local $SIG{PIPE} = 'IGNORE';
        syswrite $GO, 'x';
        while ($text !~ /^end\n/m) {    # what it has started may hold the pipe
            $bits = '';
            vec($bits, fileno $TOLD, 1) = 1;
            if (!select $bits, undef, undef, $PATIENCE) {
                kill KILL => $1 if $text =~ /^(\d+)\n/;
                say_line('unsafe', word('can be loaded only once'));
                last;
            }
            sysread($TOLD, $text, 1 << 16, length $text) or last;
        }
    }
    close $_ for $GO, $TOLD;
    ($GO, $TOLD) = ();
    say_line('unsafe', "$1%20while%20it%20is%20loaded") while $text =~ /^does (\S+)\n/mg;
    say_line('file', $1) while $text =~ /^reads (\S+)\n/mg;
}

sub has_begin {
    open my $h, '<:raw', $SCRIPT or return 1;
    sysread $h, my $text, 1 << 24;
    return $text =~ /\b(?:BEGIN|UNITCHECK|CHECK)\b/;
}
