# Debian packages by CPack, from an ordinary build: `ops/package` makes them.
#
# The four components of install.cmake are four packages. What they depend on, dpkg-shlibdeps finds. Packages of one
# commit are the same bytes: every time in them is SOURCE_DATE_EPOCH, which ops/package takes from the commit, and
# paths of the machine that built them are in none (cmake/flags.cmake).
set(MMQ_MAINTAINER "The metricmq authors <metricmq@lists.invalid>" CACHE STRING "who makes the packages")
set(release 1) # Debian's part of the version
set(debian ${PROJECT_BINARY_DIR}/install/debian)
set(components metricmq libmetricmq1 libmetricmq-dev python3-metricmq)

# Debian's changelog tells of packages; what changed in the program is in changelog.gz.
if(DEFINED ENV{SOURCE_DATE_EPOCH})
  set(seconds $ENV{SOURCE_DATE_EPOCH})
else()
  execute_process(COMMAND git log -1 --format=%ct WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}
    OUTPUT_VARIABLE seconds OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
if(NOT seconds)
  string(TIMESTAMP seconds %s UTC)
endif()
execute_process(COMMAND env LC_ALL=C date -u -R -d @${seconds} OUTPUT_VARIABLE date OUTPUT_STRIP_TRAILING_WHITESPACE)
file(WRITE ${debian}/changelog "metricmq (${PROJECT_VERSION}-${release}) unstable; urgency=medium\n\n"
  "  * The program of this version; changelog.gz tells what is new in it.\n\n -- ${MMQ_MAINTAINER}  ${date}\n")
mmq_gzip(${debian}/changelog ${debian}/changelog.Debian.gz)
foreach(component ${components})
  install(FILES ${debian}/changelog.Debian.gz DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/doc/${component}
    COMPONENT ${component} EXCLUDE_FROM_ALL)
  if(NOT component STREQUAL metricmq)
    install(FILES ${made}/copyright ${made}/changelog.gz
      DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/doc/${component} COMPONENT ${component} EXCLUDE_FROM_ALL)
  endif()
endforeach()

# Which version of libmetricmq1 a program needs: the one that brought the newest name it uses.
file(STRINGS ${map} lines REGEX "^(METRICMQ_| +mmq_)")
set(symbols "")
foreach(line ${lines})
  if(line MATCHES "^(METRICMQ_([0-9.]+))")
    set(node ${CMAKE_MATCH_1})
    set(since ${CMAKE_MATCH_2})
    list(APPEND symbols " ${node}@${node} ${since}")
  elseif(line MATCHES "(mmq_[a-z0-9_]+)")
    list(APPEND symbols " ${CMAKE_MATCH_1}@${node} ${since}")
  endif()
endforeach()
list(SORT symbols)
list(JOIN symbols "\n" symbols)
file(WRITE ${debian}/symbols
  "libmetricmq.so.${MMQ_ABI} libmetricmq1 #MINVER#\n* Build-Depends-Package: libmetricmq-dev\n${symbols}\n")
file(WRITE ${debian}/shlibs "libmetricmq ${MMQ_ABI} libmetricmq1 (>= ${PROJECT_VERSION})\n")
file(WRITE ${debian}/triggers "activate-noawait ldconfig\n")

set(CPACK_GENERATOR DEB)
set(CPACK_COMPONENTS_ALL ${components})
set(CPACK_PACKAGE_CONTACT ${MMQ_MAINTAINER})
# Installed as by DESTDIR: units then say /usr/bin, and not the folder in which packages are put together.
set(CPACK_SET_DESTDIR ON)
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
  OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE ${release})
set(CPACK_DEBIAN_PACKAGE_SOURCE metricmq)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)

set(CPACK_DEBIAN_METRICMQ_PACKAGE_NAME metricmq)
set(CPACK_DEBIAN_METRICMQ_PACKAGE_SECTION net)
set(CPACK_DEBIAN_METRICMQ_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_METRICMQ_PACKAGE_RECOMMENDS "systemd | systemd-standalone-sysusers, ca-certificates")
set(CPACK_DEBIAN_METRICMQ_PACKAGE_SUGGESTS "curl, prometheus, python3-metricmq")
set(CPACK_DEBIAN_METRICMQ_PACKAGE_CONTROL_EXTRA
  "${PROJECT_SOURCE_DIR}/ops/debian/postinst;${PROJECT_SOURCE_DIR}/ops/debian/prerm;${PROJECT_SOURCE_DIR}/ops/debian/postrm")
set(CPACK_COMPONENT_METRICMQ_DESCRIPTION "serves metric time series over ZeroMQ and HTTP
metricmq keeps metrics with their anomaly scores in SQLite and serves them,
as msgpack or JSON, page by page in constant memory; a metric with all its
rows can be dumped into an archive, which is delivered to a folder or to an
object store.

This package holds the one program, in which broker, query, write and feedback
workers and the HTTP adapter are, and a systemd unit for each. Installing it
starts none of them.")

set(CPACK_DEBIAN_LIBMETRICMQ1_PACKAGE_NAME libmetricmq1)
set(CPACK_DEBIAN_LIBMETRICMQ1_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_LIBMETRICMQ1_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_LIBMETRICMQ1_PACKAGE_CONTROL_EXTRA "${debian}/symbols;${debian}/shlibs;${debian}/triggers")
set(CPACK_COMPONENT_LIBMETRICMQ1_DESCRIPTION "clients and workers of metricmq - shared library
metricmq serves metric time series over ZeroMQ and HTTP.

Programs that are linked with its library ask a broker of metricmq for rows, or
serve it as workers of their own.")

set(CPACK_DEBIAN_LIBMETRICMQ-DEV_PACKAGE_NAME libmetricmq-dev)
set(CPACK_DEBIAN_LIBMETRICMQ-DEV_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_LIBMETRICMQ-DEV_PACKAGE_DEPENDS "libmetricmq1 (= ${PROJECT_VERSION}-${release})")
set(CPACK_COMPONENT_LIBMETRICMQ-DEV_DESCRIPTION "clients and workers of metricmq - development files
metricmq serves metric time series over ZeroMQ and HTTP.

This package holds what programs need to be linked with its library: headers,
which tell of each function its units, ownership and errors, and files for
pkg-config and CMake.")

set(CPACK_DEBIAN_PYTHON3-METRICMQ_PACKAGE_NAME python3-metricmq)
set(CPACK_DEBIAN_PYTHON3-METRICMQ_PACKAGE_SECTION python)
set(CPACK_DEBIAN_PYTHON3-METRICMQ_PACKAGE_ARCHITECTURE all)
set(CPACK_DEBIAN_PYTHON3-METRICMQ_PACKAGE_DEPENDS "python3 (>= 3.11), python3-msgpack, python3-zmq")
set(CPACK_COMPONENT_PYTHON3-METRICMQ_DESCRIPTION "clients of metricmq - Python module
metricmq serves metric time series over ZeroMQ and HTTP.

This package holds the Python client: rows of a query as a generator, which
follows pages, resumes after a loss and raises unless it comes to the end.")
include(CPack)
