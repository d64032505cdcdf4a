# What the Perl runner does while a script is loaded: it looks at what the script does
# then, and keeps what all its requests have to begin with.

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
    open($ERRORS, '>&', 2) or return;
    if (!($LOADING = scratch())) {
        close $ERRORS;
        return;
    }
    POSIX::dup2(fileno $LOADING, 2);
}

# scratch opens a file without a name: where Perl makes its own, or beside the script's socket where a sandbox lets
# nothing else be written.
sub scratch {
    my $h;
    return $h if open $h, '+>>:raw', undef;
    my ($folder) = $ORDER{socket} =~ m{^(.*)/};
    for my $file (map "$_/errors.$$", $folder, "$folder/own") {
        open($h, '+>>:raw', $file) or next;
        unlink $file;
        return $h;
    }
    return;
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
    opendir my $dir, $FD or return;
    for my $fd (grep { /^\d+\z/ && $_ > 2 && !$known{$_} } readdir $dir) {
        my $which = $what{identity($fd)};
        push @COPIES, [$which, $fd] if defined $which;
    }
}

sub identity { join ' ', (stat "$FD/" . shift)[0, 1] }

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
        $file =~ /^([\w.\/+-]+)\z/ or failed("preload $m: it is no module's name");
        $file = $1 =~ /\.p[lm]\z/ ? $1 : "$1.pm";
        next if eval { package main; require $file; 1 };
        my $why = "$@";
        $why =~ s/ at [^\n]* line \d+\.\n\z//; # this one, which is none of the script's
        failed("preload $m: $why");
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
        next if !defined $dir || place("$dir/$name") ne $LATE{$name} || looks_back($LATE{$name});
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
    return !in_library($file) && $text =~ /\|\|=|\/\/=|\b(?:defined|exists|ENV|ARGV|caller|time|localtime|gmtime|getcwd|cwd|open|sysopen|opendir|qx)\b|`|\$[0\$]/;
}

sub in_library { my $file = shift; return scalar grep { index($file, "$_/") == 0 } @LIBRARY }

# report tells the gateway what was loaded, and what keeps the script from being forked.
sub report {
    say_line('file', word($SCRIPT));
    for my $name (keys %INC) {
        my $file = file_of($name);
        say_line('file', word($file)) if -e $file;
    }
    ask_rehearsal();
    for (0 .. 2) {
        say_line('unsafe', word('replaces standard ' . (qw(input output error))[$_] . ' while it is loaded')) if $STANDARD[$_] ne identity($_);
    }
    say_line('unsafe', word("reads $_ while it is loaded")) for sort keys %READ;
    say_line('unsafe', word('draws random numbers while it is loaded')) if draws();
    if ($MODE eq 'reuse' && $ORDER{captured} ne 'accept') { say_line('captured', word($_)) for captured() }
}

# draws reports whether loading has drawn random numbers, which all requests would share.
# Net::SSLeay draws one for OpenSSL, to which it makes no difference, and SNMP_util none,
# but it seeds.
sub draws {
    my $next = rand;
    return $next != $RANDOM[0] && !$INC{'SNMP_util.pm'} && !($INC{'Net/SSLeay.pm'} && $next == $RANDOM[1]);
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
    my $file = readlink "$FD/" . fileno *$glob;
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

# place is the path of a file that was loaded by a path below the script's folder.
sub place {
    my $file = shift;
    return $file =~ m{^/} ? $file : $SCRIPT =~ s{[^/]*\z}{}r . $file =~ s{^(?:\./)+}{}r;
}

sub file_of {
    my $file = $INC{$_[0]};
    return defined $file && !ref $file ? place($file) : '-';
}

# What a worker writes costs a copy of each page that it is on, and what loading has freed
# lies scattered among what it has made. So the holes are filled, size by size: what a
# worker makes lies side by side then, on a few new pages. The address of a string, or of
# a scalar, tells when there is no hole for it below the top of the heap. Where addresses
# do not grow, that is at once, or when there are enough.
our @FILLING;

sub fill_holes {
    my $top = unpack 'J', pack 'p', my $room = "\0" x 100_000;
    undef $room;
    for (my $size = 2036; $size > 4; $size -= 16) {
        do {
            push @FILLING, undef;
            vec($FILLING[-1], $size, 8) = 0;
        } while unpack('J', pack 'p', $FILLING[-1]) < $top && @FILLING < 20_000;
        undef $FILLING[-1];
    }
    do { push @FILLING, undef } while \$FILLING[-1] < $top && @FILLING < 40_000;
}
