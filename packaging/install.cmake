# SPDX-License-Identifier: Apache-2.0
# cmake --install: everything to its place in the file system hierarchy.

install(TARGETS kts RUNTIME DESTINATION ${CMAKE_INSTALL_SBINDIR})
install(TARGETS ktadmin keytrustee RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
# Key Trustee's tool for organisations was a program of its own.
install(CODE "execute_process(COMMAND ${CMAKE_COMMAND} -E create_symlink ktadmin
    \$ENV{DESTDIR}${CMAKE_INSTALL_FULL_BINDIR}/keytrustee-orgtool)")
install(TARGETS keytrustee_shared LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS ktbackup RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
# Crontabs call it by the name that it had as a script.
install(CODE "execute_process(COMMAND ${CMAKE_COMMAND} -E create_symlink ktbackup
    \$ENV{DESTDIR}${CMAKE_INSTALL_FULL_BINDIR}/ktbackup.sh)")

# The client library, for those who write programs that deposit keys.
install(FILES client/keytrustee.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} OPTIONAL)
if(EXISTS ${CMAKE_SOURCE_DIR}/client/keytrustee.pc.in)
    configure_file(client/keytrustee.pc.in ${CMAKE_BINARY_DIR}/packaging/keytrustee.pc @ONLY)
    install(FILES ${CMAKE_BINARY_DIR}/packaging/keytrustee.pc
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endif()

# What the programs read, and what an operator copies from.
install(DIRECTORY db/schema/ DESTINATION ${CMAKE_INSTALL_DATADIR}/keytrustee/schema
    FILES_MATCHING PATTERN "[0-9][0-9][0-9]_*.sql")
install(FILES packaging/keytrustee.conf.sample packaging/profile packaging/keytrustee-backup.default
    DESTINATION ${CMAKE_INSTALL_DATADIR}/keytrustee)

# Copies of backups on another machine: what sends them, and what takes them there.
install(PROGRAMS packaging/offsite/send packaging/offsite/receive
    DESTINATION ${CMAKE_INSTALL_DATADIR}/keytrustee/offsite)

# systemd: units, accounts, folders. The paths in them are those of this installation.
foreach(unit IN ITEMS keytrusteed.service keytrustee-db.service keytrustee-backup.service)
    configure_file(packaging/systemd/${unit}.in ${CMAKE_BINARY_DIR}/packaging/${unit} @ONLY)
    install(FILES ${CMAKE_BINARY_DIR}/packaging/${unit} DESTINATION lib/systemd/system)
endforeach()
install(FILES packaging/systemd/keytrustee-backup.timer DESTINATION lib/systemd/system)
configure_file(packaging/tmpfiles.d/keytrustee.conf.in
    ${CMAKE_BINARY_DIR}/packaging/tmpfiles.conf @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/packaging/tmpfiles.conf DESTINATION lib/tmpfiles.d
    RENAME keytrustee.conf)
install(FILES packaging/sysusers.d/keytrustee.conf DESTINATION lib/sysusers.d)

# One completion serves all commands; bash loads it by the command's name.
foreach(command IN ITEMS keytrustee ktadmin kts ktbackup)
    install(FILES packaging/completion/keytrustee.bash
        DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME ${command})
endforeach()

foreach(section IN ITEMS 1 5 8)
    file(GLOB pages CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/docs/man/*.${section})
    install(FILES ${pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section})
endforeach()
file(GLOB guides CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/docs/*.md)
install(FILES README.md CHANGELOG.md LICENSE client/example.c ${guides}
    DESTINATION ${CMAKE_INSTALL_DOCDIR})
