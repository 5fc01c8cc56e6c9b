# cmake --install: GNU's places (Debian's on Debian), in four components, which are the four packages of package.cmake.
#
#   metricmq         the program, its units and documents
#   libmetricmq1     libmetricmq.so.1 for programs that were linked with it
#   python3-metricmq the Python client
#   libmetricmq-dev  headers, the link for the linker, pkg-config's and CMake's files
#
# The program is linked with its rooms as archives, and not with libmetricmq.so: it is one file that can be copied to
# another machine, calls within it are calls and no jumps through a table, and what the rooms share beside the public
# headers need not be exported. So it also needs no libmetricmq1 of just its version.
if(EXISTS /etc/debian_version AND CMAKE_LIBRARY_ARCHITECTURE AND NOT DEFINED CMAKE_INSTALL_LIBDIR)
  set(CMAKE_INSTALL_LIBDIR lib/${CMAKE_LIBRARY_ARCHITECTURE} CACHE PATH "libraries, below the prefix")
endif()
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
include(cmake/library.cmake)
set(made ${PROJECT_BINARY_DIR}/install)

# ---- the program -----------------------------------------------------------------------------
install(TARGETS metricmq RUNTIME COMPONENT metricmq)

# Units name the whole path of the program, which is known when it is installed.
file(GLOB units CONFIGURE_DEPENDS ops/systemd/*.service ops/systemd/*.target)
install(FILES ${units} DESTINATION lib/systemd/system COMPONENT metricmq)
foreach(unit ${units})
  get_filename_component(name ${unit} NAME)
  install(CODE "set(unit \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/lib/systemd/system/${name}\")
    file(READ \"\${unit}\" text)
    string(REPLACE /usr/bin/metricmq \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_BINDIR}/metricmq\" text \"\${text}\")
    file(WRITE \"\${unit}\" \"\${text}\")" COMPONENT metricmq)
endforeach()
foreach(kind sysusers tmpfiles)
  file(GLOB files CONFIGURE_DEPENDS ops/systemd/*.${kind})
  foreach(file ${files})
    get_filename_component(name ${file} NAME_WE)
    install(FILES ${file} DESTINATION lib/${kind}.d RENAME ${name}.conf COMPONENT metricmq)
  endforeach()
endforeach()

# Licence and changelog, in the form and under the names that Debian has for them.
file(READ LICENSE licence)
string(REGEX REPLACE "^MIT License\n+(Copyright [^\n]*)\n+" "" licence "${licence}")
set(copyright "${CMAKE_MATCH_1}")
string(STRIP "${licence}" licence)
string(REPLACE "\n\n" "\n.\n" licence "${licence}")
string(REPLACE "\n" "\n " licence "${licence}")
configure_file(ops/debian/copyright.in ${made}/copyright @ONLY)
function(mmq_gzip from to)
  execute_process(COMMAND gzip -9nc ${from} OUTPUT_FILE ${to} COMMAND_ERROR_IS_FATAL ANY)
endfunction()
mmq_gzip(${PROJECT_SOURCE_DIR}/CHANGELOG.md ${made}/changelog.gz)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS CHANGELOG.md LICENSE)

file(GLOB documents CONFIGURE_DEPENDS docs/*.md)
install(FILES README.md SECURITY.md CONTRIBUTING.md ${made}/copyright ${made}/changelog.gz
  DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT metricmq)
install(FILES ${documents} DESTINATION ${CMAKE_INSTALL_DOCDIR}/docs COMPONENT metricmq)
# What operators copy and change: docs/operations.md.
install(DIRECTORY ops/prometheus ops/grafana ops/nginx ops/haproxy DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples
  COMPONENT metricmq)

# The Python client stands where Debian's python3 looks for modules.
install(FILES clients/python/metricmq.py DESTINATION lib/python3/dist-packages COMPONENT python3-metricmq)

# ---- the library -----------------------------------------------------------------------------
if(TARGET libmetricmq)
  file(RELATIVE_PATH up ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
  string(REGEX REPLACE "/$" "" up ${up})
  configure_file(cmake/metricmq.pc.in ${made}/metricmq.pc @ONLY)
  set(package ${CMAKE_INSTALL_LIBDIR}/cmake/metricmq)
  configure_package_config_file(cmake/metricmq-config.cmake.in ${made}/metricmq-config.cmake
    INSTALL_DESTINATION ${package})
  # Before 1.0 each minor version may change what callers see; the library's SONAME says whether it does.
  write_basic_package_version_file(${made}/metricmq-config-version.cmake COMPATIBILITY SameMinorVersion)

  install(TARGETS libmetricmq EXPORT metricmq
    LIBRARY COMPONENT libmetricmq1 NAMELINK_COMPONENT libmetricmq-dev)
  install(DIRECTORY include/metricmq DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT libmetricmq-dev
    FILES_MATCHING PATTERN *.h)
  install(EXPORT metricmq NAMESPACE metricmq:: FILE metricmq-targets.cmake DESTINATION ${package}
    COMPONENT libmetricmq-dev)
  install(FILES ${made}/metricmq-config.cmake ${made}/metricmq-config-version.cmake DESTINATION ${package}
    COMPONENT libmetricmq-dev)
  install(FILES ${made}/metricmq.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT libmetricmq-dev)
endif()
