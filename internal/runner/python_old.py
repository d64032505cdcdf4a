# In the place of the runner where Python is older than what it is written for. Any Python can read this.
import os
import sys

size = b''
while size[-1:] != b':':
    size += os.read(3, 1) or os._exit(1)
order = b''
while len(order) <= int(size[:-1]):
    order += os.read(3, int(size[:-1]) + 1 - len(order)) or os._exit(1)
words = order.split(b'\0')
cookie = words[words.index(b'cookie') + 1]
version = '.'.join(map(str, sys.version_info[:3])).encode()
safe = b''.join(b'%' + ('%02X' % c).encode() for c in bytearray(cookie))
os.write(3, b'hello 1 ' + safe + b' python ' + version + b'\nunsafe needs%20Python%203.8%20or%20newer,%20this%20is%20' + version + b'\nready\n')
os.read(3, 1)  # until the gateway has enough of it
os._exit(0)
