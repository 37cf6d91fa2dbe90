/* Preloaded (LD_PRELOAD), it writes one line a call to the file that SOCKET_LOG names, and makes the call:
     PID PROGRAM socket FAMILY
     PID PROGRAM to ADDRESS PORT        connect, sendto, sendmsg, sendmmsg of IPv4 and IPv6
     PID PROGRAM resolve NAME           getaddrinfo, gethostbyname
   It sees Python and compiled libraries alike; not programs that are linked statically. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static void note(const char *format, ...) {
  int before = errno;
  const char *path = getenv("SOCKET_LOG");
  int file = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666) : -1;
  if (file >= 0) {
    char line[512];
    int used = snprintf(line, sizeof line, "%d %s ", getpid(), program_invocation_short_name);
    va_list arguments;
    va_start(arguments, format);
    used += vsnprintf(line + used, sizeof line - used, format, arguments);
    va_end(arguments);
    if (used > (int)sizeof line - 2) used = sizeof line - 2;
    line[used++] = '\n';
    if (write(file, line, used) < 0) abort(); /* a call that is not noted is not made */
    close(file);
  } else if (path) {
    abort();
  }
  errno = before;
}

static void note_address(const struct sockaddr *address) {
  char text[INET6_ADDRSTRLEN] = "?";
  if (address && address->sa_family == AF_INET) {
    const struct sockaddr_in *ip = (const void *)address;
    inet_ntop(AF_INET, &ip->sin_addr, text, sizeof text);
    note("to %s %d", text, ntohs(ip->sin_port));
  } else if (address && address->sa_family == AF_INET6) {
    const struct sockaddr_in6 *ip = (const void *)address;
    inet_ntop(AF_INET6, &ip->sin6_addr, text, sizeof text);
    note("to %s %d", text, ntohs(ip->sin6_port));
  }
}

int socket(int family, int type, int protocol) {
  if (family != AF_UNIX && family != AF_NETLINK) /* neither leaves the machine */
    note("socket %s", family == AF_INET ? "IPv4" : family == AF_INET6 ? "IPv6" : "other");
  return REAL(socket)(family, type, protocol);
}

int connect(int fd, const struct sockaddr *address, socklen_t length) {
  note_address(address);
  return REAL(connect)(fd, address, length);
}

ssize_t sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *address, socklen_t length) {
  note_address(address);
  return REAL(sendto)(fd, data, size, flags, address, length);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
  note_address(message->msg_name);
  return REAL(sendmsg)(fd, message, flags);
}

int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags) {
  for (unsigned i = 0; i < count; i++) note_address(messages[i].msg_hdr.msg_name);
  return REAL(sendmmsg)(fd, messages, count, flags);
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
  if (name) note("resolve %s", name);
  return REAL(getaddrinfo)(name, service, hints, found);
}

struct hostent *gethostbyname(const char *name) {
  note("resolve %s", name);
  return REAL(gethostbyname)(name);
}
