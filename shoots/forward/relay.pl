# Connects standard input and output to PROTOCOL ADDRESS PORT. Says + once it is
# connected. Datagrams go with their length before them, in two bytes.
use strict;
use IO::Socket::IP;
my ($protocol, $address, $port) = @ARGV;
my $datagrams = $protocol eq "udp";
my $peer = IO::Socket::IP->new(
  PeerHost => $address, PeerPort => $port, Proto => $protocol, Timeout => 5,
  Type => $datagrams ? SOCK_DGRAM : SOCK_STREAM,
) or die "$@\n";
$peer->blocking(1);
binmode $_ for *STDIN, *STDOUT, $peer;
sub out {
  my ($to, $bytes) = @_;
  for (my $done = 0; $done < length $bytes;) {
    my $n = syswrite $to, $bytes, length($bytes) - $done, $done;
    exit 1 if !defined $n;
    $done += $n;
  }
}
sub in {
  my ($want) = @_;
  my $bytes = "";
  while (length $bytes < $want) {
    return undef if !sysread STDIN, $bytes, $want - length $bytes, length $bytes;
  }
  return $bytes;
}
$SIG{TERM} = sub { exit 0 };
out(*STDOUT, "+");
my $parent = $$;
my $child = fork;
die "fork: $!\n" if !defined $child;
if (!$child) {
  # From the address. Its end is the end of all.
  close STDIN;
  while (defined(my $n = sysread $peer, my $bytes, 65536)) {
    last if !$n && !$datagrams;
    out(*STDOUT, $datagrams ? pack("n/a*", $bytes) : $bytes);
  }
  kill "TERM", $parent;
  exit 0;
}
close STDOUT;
if ($datagrams) {
  while (defined(my $head = in(2))) {
    my $size = unpack "n", $head;
    my $bytes = $size ? in($size) : "";
    last if !defined $bytes;
    send $peer, $bytes, 0;
  }
  kill "TERM", $child;
} else {
  while (sysread STDIN, my $bytes, 65536) { out($peer, $bytes) }
  shutdown $peer, 1;
}
waitpid $child, 0;
