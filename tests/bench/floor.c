/*
 * What inetd, the kernel and the dynamic linker take by themselves: a program
 * that greets, reads a line, says goodbye and ends.
 */
#include <unistd.h>

int main(void)
{
    static const char greeting[] = "220 floor ready\r\n", bye[] = "221 bye\r\n";
    char line[512];

    if (write(1, greeting, sizeof greeting - 1) < 0 || read(0, line, sizeof line) < 0)
        return 1;
    return write(1, bye, sizeof bye - 1) < 0;
}
